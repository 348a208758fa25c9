"""One market in a hub: its mirror, its ticker, its status, and the channels made from them.

It takes updates in the order of the feed and a snapshot whenever it has lost the thread; it reads nothing itself.
While it is not current (before its first snapshot, after a gap, without Valkey) it keeps updates back, and whoever
joins waits: nothing is told that may be false.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from trading.live.book_mirror import BookMirror, FeedGap, FeedTicker, FeedTrade, FeedUpdate
from trading.live.channel import Channel
from trading.live.feed_frames import book_delta, book_snapshot, lifecycle_data, ticker_data, trade_rows
from trading.live.kept_frames import Shelf
from trading.live.pace import Pace

MARKET_CHANNELS = ("book", "trades", "ticker", "lifecycle")

LOSSLESS = frozenset({"trades", "lifecycle"})
"""Channels of which each frame counts."""

LevelKey = tuple[int, str, int]
"""(outcome index, "bid" or "ask", price_pips)"""

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
        pace: Pace,
        shelf: Shelf,
        count: Callable[[str, int], None],
    ) -> None:
        self.market_id = market_id
        self.names = tuple(names)
        self.mirror: BookMirror | None = None
        self.ticker: FeedTicker | None = None
        self.recent_trades = recent_trades
        # When somebody last asked for it; the hub's to set, as is whether its leaving is arranged.
        self.wanted_at = 0.0
        self.is_leaving = False
        # Answers to reads (trading.live.market_reads) that count until something changes, and how often it has.
        self.answers: dict[Any, Any] = {}
        self.flights: dict[Any, Any] = {}
        self.loaded: Any = None
        self.changes = 0
        self._read_again = read_again
        self._kept: deque[FeedUpdate] = deque(maxlen=MAX_KEPT_UPDATES)
        # What the next frames of book and trades will tell; tickers and statuses are always told whole.
        self._touched: dict[LevelKey, None] = {}
        self._new_trades: list[FeedTrade] = []
        makers: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
            "book": (self._book_snapshot, self._book_changes),
            "trades": (self._recent_trades, self._trade_changes),
            "ticker": (self._ticker_snapshot, self._ticker_snapshot),
            "lifecycle": (self._lifecycle_snapshot, self._lifecycle_snapshot),
        }
        self.channels = {
            name: Channel(
                {"channel": name, "market_id": market_id},
                topic=market_id,
                may_skip=name not in LOSSLESS,
                snapshot=snapshot,
                changes=changes,
                pace=pace,
                shelf=shelf,
                count=count,
            )
            for name, (snapshot, changes) in makers.items()
        }

    @property
    def is_current(self) -> bool:
        return self.channels["book"].is_current

    @property
    def has_subscribers(self) -> bool:
        return any(channel.subscribers for channel in self.channels.values())

    def lose(self) -> None:
        """The thread is lost: tell nothing until `restore`, and keep what comes meanwhile."""
        self._note_change()
        # Trades and statuses are facts; how the book stands now is not known.
        for name, channel in self.channels.items():
            if name in LOSSLESS:
                channel.tell_now()
            channel.forget_untold()
            channel.is_current = False
        self._touched.clear()
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
        self._note_change()
        self._publish(update)

    def _note_change(self) -> None:
        self.changes += 1
        self.answers.clear()

    def restore(self, mirror: BookMirror, ticker: FeedTicker | None) -> bool:
        """Go on from a snapshot read after `lose`; False if it is older than what was told already."""
        old_seq = self.mirror.seq if self.mirror is not None else None
        if old_seq is not None and mirror.seq < old_seq:
            return False
        self._note_change()
        old_status = self.ticker.status if self.ticker is not None else None
        self.mirror, self.ticker = mirror, ticker
        kept = [update for update in self._kept if update.seq > mirror.seq]
        self._kept.clear()
        self._touched.clear()
        self.channels["book"].restart(mirror.seq, is_lossless=True)
        is_unbroken = mirror.seq == old_seq
        if ticker is not None:
            self.channels["ticker"].restart(mirror.seq, is_lossless=True)
            has_told = is_unbroken and ticker.status == old_status
            self._restart_lossless("lifecycle", mirror.seq, is_unbroken=has_told)
        self._restart_lossless("trades", mirror.seq, is_unbroken=is_unbroken)
        for update in kept:
            self.take(update)
        return True

    def _restart_lossless(self, name: str, seq: int, *, is_unbroken: bool) -> None:
        """Such frames are not in the snapshot: what was missed is missing, and the channel says so by a fresh start."""
        channel = self.channels[name]
        if is_unbroken:
            channel.is_current = True
            channel.start_waiting()
        else:
            channel.restart(seq, is_lossless=False)

    def _publish(self, update: FeedUpdate) -> None:
        """Each channel that the update changes has news; the others keep their number."""
        if update.levels:
            book = self.channels["book"]
            if book.is_followed:
                self._touched |= dict.fromkeys([level[:3] for level in update.levels])
            book.tell(update.seq)
        if update.trades:
            trades = self.channels["trades"]
            if trades.is_followed:
                self._new_trades += update.trades
            trades.tell(update.seq)
        if update.ticker is not None:
            self._take_ticker(update.seq, update.ticker)

    def _take_ticker(self, seq: int, ticker: FeedTicker) -> None:
        before, self.ticker = self.ticker, ticker
        if before is None:
            for name in ("ticker", "lifecycle"):
                self.channels[name].restart(seq, is_lossless=name == "ticker")
            return
        if ticker.figures != before.figures:
            self.channels["ticker"].tell(seq)
        if ticker.status != before.status:
            # Each status counts, so that none waits for another.
            self.channels["lifecycle"].tell(seq)
            self.channels["lifecycle"].tell_now()

    def _book_snapshot(self) -> dict[str, Any]:
        assert self.mirror is not None
        return book_snapshot(self.mirror)

    def _book_changes(self) -> dict[str, Any]:
        assert self.mirror is not None
        touched, self._touched = self._touched, {}
        return book_delta(self.mirror, [(*key, self.mirror.size_at(*key)) for key in touched])

    def _recent_trades(self) -> list[dict[str, Any]]:
        assert self.mirror is not None
        return trade_rows(self.names, self.recent_trades.up_to(self.mirror.seq))

    def _trade_changes(self) -> list[dict[str, Any]]:
        trades, self._new_trades = self._new_trades, []
        return trade_rows(self.names, trades)

    def _ticker_snapshot(self) -> dict[str, Any]:
        assert self.ticker is not None
        return ticker_data(self.names, self.ticker)

    def _lifecycle_snapshot(self) -> dict[str, Any]:
        assert self.ticker is not None
        return lifecycle_data(self.names, self.ticker)
