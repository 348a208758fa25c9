"""One market in a hub: its mirror, its ticker, and the channels `book`, `trades` and `ticker` made from them.

It takes updates in the order of the feed and a snapshot whenever it has lost the thread; it reads nothing itself.
While it is not current (before its first snapshot, after a gap, without Valkey) it keeps updates back, and whoever
joins waits: nothing is told that may be false.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from trading.live.book_mirror import BookMirror, FeedGap, FeedTicker, FeedTrade, FeedUpdate
from trading.live.channel import Channel, Subscription
from trading.live.feed_frames import book_delta, book_snapshot, ticker_data, trade_rows

MARKET_CHANNELS = ("book", "trades", "ticker")

# More than arrives while a snapshot is read; should it overflow, a gap shows and the snapshot is read again.
MAX_KEPT_UPDATES = 1_000


class RecentTrades:
    """The last trades of a market without a hole, as far back as this process has followed it."""

    __slots__ = ("seq", "trades")

    def __init__(self) -> None:
        self.seq: int | None = None
        self.trades: deque[FeedTrade] = deque(maxlen=50)

    def take(self, update: FeedUpdate) -> None:
        """Add an update's trades; forget the older ones if something between was missed."""
        if self.seq is not None and update.seq <= self.seq:
            return
        if update.prev != self.seq:
            self.trades.clear()
        self.seq = update.seq
        self.trades.extend(update.trades)

    def up_to(self, seq: int) -> list[FeedTrade]:
        """Those that a market at `seq` has seen, oldest first."""
        return [trade for trade in self.trades if trade[-1] <= seq]


class MarketFeed:
    """A market's channels. `read_again(feed)` is called when only a new snapshot helps."""

    def __init__(
        self,
        *,
        market_id: str,
        names: Sequence[str],
        recent_trades: RecentTrades,
        read_again: Callable[["MarketFeed"], None],
        count: Callable[[str, int], None],
    ) -> None:
        self.market_id = market_id
        self.names = tuple(names)
        self.mirror: BookMirror | None = None
        self.ticker: FeedTicker | None = None
        self.recent_trades = recent_trades
        self._read_again = read_again
        self._kept: deque[FeedUpdate] = deque(maxlen=MAX_KEPT_UPDATES)
        snapshots: dict[str, Callable[[], Any]] = {
            "book": self._book_snapshot,
            "trades": self._recent_trades,
            "ticker": self._ticker_snapshot,
        }
        self.channels = {
            name: Channel(
                {"channel": name, "market_id": market_id},
                topic=market_id,
                may_skip=name != "trades",
                snapshot=snapshots[name],
                count=count,
            )
            for name in MARKET_CHANNELS
        }

    @property
    def is_current(self) -> bool:
        return self.channels["book"].is_current

    @property
    def has_subscribers(self) -> bool:
        return any(channel.subscribers for channel in self.channels.values())

    def join(self, subscription: Subscription) -> None:
        """Let a subscription in: it gets a first frame now, or as soon as the market is current."""
        channel = subscription.channel
        channel.subscribers.add(subscription)
        if channel.is_current:
            channel.start(subscription)

    def lose(self) -> None:
        """The thread is lost: tell nothing until `restore`, and keep what comes meanwhile."""
        for channel in self.channels.values():
            channel.is_current = False
        self._kept.clear()

    def take(self, update: FeedUpdate) -> None:
        """Pass the next update of the feed on to the sockets."""
        if not self.is_current:
            self._kept.append(update)
            return
        assert self.mirror is not None
        if update.seq <= self.mirror.seq and not update.reset:
            return
        try:
            if update.reset:
                raise FeedGap("the book was rewritten")
            self.mirror.apply(update)
        except (FeedGap, ValueError):
            self.lose()
            self._kept.append(update)
            self._read_again(self)
            return
        self._publish(update)

    def restore(self, mirror: BookMirror, ticker: FeedTicker | None) -> bool:
        """Go on from a snapshot read after `lose`; False if it is older than what was told already."""
        old_seq = self.mirror.seq if self.mirror is not None else None
        if old_seq is not None and mirror.seq < old_seq:
            return False
        self.mirror, self.ticker = mirror, ticker
        kept = [update for update in self._kept if update.seq > mirror.seq]
        self._kept.clear()
        self.channels["book"].restart(mirror.seq, is_lossless=True)
        if ticker is not None:
            self.channels["ticker"].restart(mirror.seq, is_lossless=True)
        self._restart_trades(mirror.seq, is_unbroken=mirror.seq == old_seq)
        for update in kept:
            self.take(update)
        return True

    def _restart_trades(self, seq: int, *, is_unbroken: bool) -> None:
        """Trades are not in the snapshot: what was missed is missing, and the channel says so by a fresh start."""
        trades = self.channels["trades"]
        if is_unbroken:
            trades.is_current = True
            trades.start_waiting()
        else:
            trades.restart(seq, is_lossless=False)

    def _publish(self, update: FeedUpdate) -> None:
        """One frame a channel that the update changes; the others keep their number."""
        assert self.mirror is not None
        if update.levels:
            self.channels["book"].publish(update.seq, book_delta(self.mirror, update.levels))
        if update.trades:
            self.channels["trades"].publish(update.seq, trade_rows(self.names, update.trades))
        if update.ticker is not None and update.ticker != self.ticker:
            self._publish_ticker(update.seq, update.ticker)

    def _publish_ticker(self, seq: int, ticker: FeedTicker) -> None:
        channel = self.channels["ticker"]
        self.ticker = ticker
        if channel.is_current:
            channel.publish(seq, self._ticker_snapshot())
        else:
            channel.restart(seq, is_lossless=True)

    def _book_snapshot(self) -> dict[str, Any]:
        assert self.mirror is not None
        return book_snapshot(self.mirror)

    def _ticker_snapshot(self) -> dict[str, Any]:
        assert self.ticker is not None
        return ticker_data(self.names, self.ticker)

    def _recent_trades(self) -> list[dict[str, Any]]:
        assert self.mirror is not None
        return trade_rows(self.names, self.recent_trades.up_to(self.mirror.seq))
