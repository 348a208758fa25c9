"""A market's channels: whoever joins whenever, whatever is lost, each client ends with the shard's book."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trading.live.feed_client import BookClient, FakeShard, shown
from trading.live import kept_frames as kept_frames_module
from trading.live import outbox as outbox_module
from trading.live.book_mirror import BookMirror, FeedTicker, FeedUpdate
from trading.live.channel import Subscription
from trading.live.kept_frames import KeptFrames, Shelf
from trading.live.market_feed import MarketFeed, RecentTrades
from trading.live.outbox import Outbox
from trading.live.pace import Pace
from trading.live.shared_frames import Frame

MARKET = "0199aaaa-0000-7000-8000-000000000001"
NAMES = ["Ann", "Bea", "Cid"]


class AtOnce:
    """A Pace that never makes anything wait."""

    def run(self, sends: int, action: Callable[[], None]) -> None:
        action()


class OnTurn:
    """A Pace where everything waits until the test says so."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def run(self, sends: int, action: Callable[[], None]) -> None:
        self.waiting.append(action)

    def turn(self) -> None:
        waiting, self.waiting = self.waiting, []
        for action in waiting:
            action()


class Desk:
    """A MarketFeed with its shard: the test decides what arrives and when the snapshot is read."""

    def __init__(self, names: list[str] = NAMES, pace: Pace | None = None) -> None:
        self.names = names
        self.shard = FakeShard(MARKET, outcomes=len(names))
        self.reads = 0
        self.feed = MarketFeed(
            market_id=MARKET,
            names=names,
            recent_trades=RecentTrades(),
            read_again=lambda feed: self._ask(),
            pace=pace or AtOnce(),
            shelf=Shelf(),
            count=lambda channel, frames: None,
        )

    def _ask(self) -> None:
        self.reads += 1

    def deliver(self, update: dict[str, Any]) -> None:
        decoded = msgspec.msgpack.decode(msgspec.msgpack.encode(update), type=FeedUpdate)
        self.feed.recent_trades.take(decoded)
        self.feed.take(decoded)

    def restore(self) -> bool:
        mirror = BookMirror.from_hash(self.names, self.shard.book_hash())
        assert mirror is not None
        return self.feed.restore(mirror, msgspec.convert(self.shard.ticker(), FeedTicker))

    def join(self, channel: str = "book", *, resume_from: int | None = None) -> Outbox:
        outbox = Outbox()
        joined = self.feed.channels[channel]
        joined.join(Subscription(outbox, joined), resume_from=resume_from)
        return outbox

    def leave(self, outbox: Outbox, channel: str = "book") -> None:
        left = self.feed.channels[channel]
        left.subscribers = {each for each in left.subscribers if each.outbox is not outbox}


def sent(outbox: Outbox) -> list[dict[str, Any]]:
    """Take everything queued."""
    frames = [json.loads(frame.text) for frame in outbox._frames]
    outbox._frames.clear()
    outbox._bytes = 0
    return frames


def seqs(frames: list[dict[str, Any]]) -> list[tuple[int | None, int]]:
    return [(frame["prev_seq"], frame["seq"]) for frame in frames]


def test_snapshot_is_followed_by_deltas_that_link_to_it():
    desk = Desk()
    desk.restore()
    outbox = desk.join()
    desk.deliver(desk.shard.change((0, "bid", 100, 5), events=3))
    desk.deliver(desk.shard.change((0, "bid", 100, 0)))
    frames = sent(outbox)
    assert seqs(frames) == [(None, 1), (1, 4), (4, 5)]
    assert frames[0]["channel"] == "book"
    assert frames[0]["market_id"] == MARKET
    assert frames[1]["data"]["changes"] == [["Ann", "bid", "0.0100", 5]]


def test_who_joins_in_the_middle_gets_the_same_next_delta_as_everyone():
    desk = Desk()
    desk.restore()
    early = desk.join()
    desk.deliver(desk.shard.change((0, "bid", 100, 5)))
    desk.deliver(desk.shard.change(events=4))  # nothing of the book: its number stands
    late = desk.join()
    desk.deliver(desk.shard.change((1, "ask", 100, 5)))
    assert sent(early)[-1] == sent(late)[-1]
    assert late._frames is not early._frames


def test_change_elsewhere_raises_no_book_number():
    desk = Desk()
    desk.restore()
    outbox = desk.join()
    desk.deliver(desk.shard.change(trades=[("t1", 0, 6500, 3, "buy")]))
    assert seqs(sent(outbox)) == [(None, 1)]
    assert desk.feed.channels["book"].seq == 1
    assert desk.feed.channels["trades"].seq == 2


def test_join_before_the_snapshot_waits_and_updates_meanwhile_are_kept():
    desk = Desk()
    outbox = desk.join()
    assert sent(outbox) == []
    read_late = desk.shard.change((0, "bid", 100, 5))
    desk.deliver(read_late)
    desk.restore()  # the snapshot holds that update already
    desk.deliver(read_late)
    desk.deliver(desk.shard.change((0, "bid", 200, 5)))
    assert seqs(sent(outbox)) == [(None, 2), (2, 3)]


def test_gap_tells_nothing_until_the_snapshot_is_read_and_links_to_the_last_frame():
    desk = Desk()
    desk.restore()
    outbox = desk.join()
    desk.shard.change((0, "bid", 100, 5))  # lost
    desk.deliver(desk.shard.change((0, "bid", 200, 5)))
    desk.deliver(desk.shard.change((0, "bid", 300, 5)))
    assert desk.reads == 1
    assert seqs(sent(outbox)) == [(None, 1)]
    newcomer = desk.join()
    desk.restore()
    assert seqs(sent(outbox)) == [(1, 4)]
    assert seqs(sent(newcomer)) == [(None, 4)]


def test_reset_reads_the_snapshot_again_even_at_the_same_number():
    desk = Desk()
    desk.restore()
    outbox = desk.join()
    trades = desk.join("trades")
    desk.shard.levels[0, "bid", 100] = 7
    desk.deliver(desk.shard.change(reset=True, events=0))
    desk.restore()
    assert desk.reads == 1
    frames = sent(outbox)
    assert seqs(frames) == [(None, 1), (1, 1)]
    assert frames[1]["data"]["bids"]["Ann"] == [["0.0100", 7]]
    assert seqs(sent(trades)) == [(None, 1)]  # nothing can have been traded meanwhile


def test_snapshot_older_than_what_was_told_is_refused():
    desk = Desk()
    desk.shard.seq = desk.shard.published = 9
    desk.restore()
    desk.feed.lose()
    desk.shard.seq = 8
    assert desk.restore() is False
    assert not desk.feed.is_current


def test_trades_come_newest_first_and_a_newcomer_gets_the_recent_ones():
    desk = Desk()
    desk.restore()
    outbox = desk.join("trades")
    desk.deliver(desk.shard.change(trades=[("t1", 0, 6500, 3, "buy"), ("t2", 0, 6400, 2, "sell")]))
    newcomer = desk.join("trades")
    first, second = sent(outbox)
    assert first["data"] == []
    assert [row["trade_id"] for row in second["data"]] == ["t2", "t1"]
    assert second["data"][1] == {
        "trade_id": "t1",
        "outcome": "Ann",
        "price": "0.6500",
        "quantity": 3,
        "taker_side": "buy",
        "at": "2023-11-14T22:13:20.000000Z",
        "seq": 2,
    }
    (joined,) = sent(newcomer)
    assert (joined["prev_seq"], joined["seq"], joined["data"]) == (None, 2, second["data"])


def test_lost_trades_show_as_a_fresh_start_of_the_channel():
    desk = Desk()
    desk.restore()
    outbox = desk.join("trades")
    desk.deliver(desk.shard.change(trades=[("t1", 0, 6500, 3, "buy")]))
    desk.shard.change(trades=[("lost", 0, 6500, 3, "buy")])
    desk.deliver(desk.shard.change(trades=[("t3", 0, 6500, 3, "buy")]))
    desk.restore()
    frames = sent(outbox)
    assert seqs(frames) == [(None, 1), (1, 2), (None, 4)]
    assert [row["trade_id"] for row in frames[-1]["data"]] == ["t3"]


def test_ticker_is_sent_when_it_changes_with_null_for_unknown_prices():
    desk = Desk(["Yes", "No"])
    desk.restore()
    outbox = desk.join("ticker")
    desk.deliver(desk.shard.change((0, "bid", 6500, 5)))
    desk.deliver(desk.shard.change((0, "bid", 6400, 5)))
    frames = sent(outbox)
    assert seqs(frames) == [(None, 1), (1, 2)]
    assert frames[1]["data"] == {
        "Yes": {"last_price": None, "best_bid": "0.6500", "best_ask": None},
        "No": {"last_price": None, "best_bid": None, "best_ask": None},
        "volume": "0.0000",
        "open_interest": 0,
    }


def test_foul_update_is_answered_by_a_new_snapshot():
    desk = Desk()
    desk.restore()
    outbox = desk.join()
    desk.deliver({**desk.shard.change(), "levels": [(17, "bid", 100, 1)]})
    assert desk.reads == 1
    desk.restore()
    assert seqs(sent(outbox)) == [(None, 1), (1, 2)]


def test_slow_socket_skips_book_frames_and_gets_a_snapshot_later(monkeypatch):
    monkeypatch.setattr(outbox_module, "MAX_FRAMES", 2)
    desk = Desk()
    desk.restore()
    outbox, client = desk.join(), BookClient()
    for price in range(100, 120):
        desk.deliver(desk.shard.change((0, "bid", price, 5)))
    assert len(outbox._frames) == 2
    assert outbox.is_lagging
    drain(outbox, client)
    assert client.levels == shown(desk.shard, NAMES)
    desk.deliver(desk.shard.change((0, "bid", 100, 0)))
    drain(outbox, client)
    assert client.levels == shown(desk.shard, NAMES)
    assert client.snapshots == 2


def test_slow_socket_is_closed_where_a_trade_would_be_lost(monkeypatch):
    monkeypatch.setattr(outbox_module, "MAX_FRAMES", 2)
    desk = Desk()
    desk.restore()
    outbox = desk.join("trades")
    for _ in range(3):
        desk.deliver(desk.shard.change(trades=[("t", 0, 6500, 3, "buy")]))
    assert outbox._close is not None
    assert outbox._close[0] == 1013


def test_changes_that_wait_for_their_turn_are_told_in_one_frame():
    pace = OnTurn()
    desk = Desk(pace=pace)
    desk.restore()
    book, trades, ticker = desk.join("book"), desk.join("trades"), desk.join("ticker")
    desk.deliver(desk.shard.change((0, "bid", 100, 5), trades=[("t1", 0, 100, 1, "buy")]))
    desk.deliver(desk.shard.change((0, "bid", 100, 7), (1, "ask", 300, 1)))
    desk.deliver(desk.shard.change((1, "ask", 300, 0), trades=[("t2", 0, 100, 1, "buy")]))
    assert [len(sent(outbox)) for outbox in (book, trades, ticker)] == [1, 1, 1]
    pace.turn()
    (delta,), (rows,), (prices,) = sent(book), sent(trades), sent(ticker)
    assert delta["data"]["changes"] == [["Ann", "bid", "0.0100", 7], ["Bea", "ask", "0.0300", 0]]
    assert [row["trade_id"] for row in rows["data"]] == ["t2", "t1"]
    assert prices["data"]["Ann"]["best_bid"] == "0.0100"
    assert {(f["prev_seq"], f["seq"]) for f in (delta, rows, prices)} == {(1, 4)}
    pace.turn()
    assert sent(book) == []


def test_who_joins_while_changes_wait_gets_a_first_frame_that_the_next_one_follows_on():
    pace = OnTurn()
    desk = Desk(pace=pace)
    desk.restore()
    early = desk.join()
    desk.deliver(desk.shard.change((0, "bid", 100, 5)))
    late = desk.join()
    desk.deliver(desk.shard.change((0, "bid", 200, 5)))
    assert sent(late) == []  # it does not have the others told before their turn
    pace.turn()
    assert seqs(sent(early)) == [(None, 1), (1, 3)]
    assert seqs(sent(late)) == [(None, 3)]
    desk.deliver(desk.shard.change((0, "bid", 300, 5)))
    pace.turn()
    assert seqs(sent(early)) == seqs(sent(late)) == [(3, 4)]


def test_who_comes_back_while_changes_wait_gets_what_was_told_and_then_their_turn():
    pace = OnTurn()
    desk = Desk(pace=pace)
    desk.restore()
    desk.join()
    desk.deliver(desk.shard.change((0, "bid", 100, 5)))
    pace.turn()
    desk.deliver(desk.shard.change((0, "bid", 200, 5)))
    back = desk.join(resume_from=1)
    assert seqs(sent(back)) == [(1, 2)]
    pace.turn()
    assert seqs(sent(back)) == [(2, 3)]


def test_slow_socket_that_catches_up_while_changes_wait_gets_them_in_their_turn(monkeypatch):
    monkeypatch.setattr(outbox_module, "MAX_FRAMES", 1)
    pace = OnTurn()
    desk = Desk(pace=pace)
    desk.restore()
    outbox, client, other = desk.join(), BookClient(), desk.join()
    for price in (100, 200):
        desk.deliver(desk.shard.change((0, "bid", price, 5)))
        pace.turn()
    desk.deliver(desk.shard.change((0, "bid", 300, 5)))
    drain(outbox, client)
    assert len(sent(other)) == 1
    assert (client.seq, outbox.is_lagging) == (1, True)
    pace.turn()
    drain(outbox, client)
    assert client.levels == shown(desk.shard, NAMES)
    assert not outbox.is_lagging


def test_slow_socket_is_put_off_only_once(monkeypatch):
    monkeypatch.setattr(outbox_module, "MAX_FRAMES", 1)
    pace = OnTurn()
    desk = Desk(pace=pace)
    desk.restore()
    outbox, client = desk.join(), BookClient()
    for price in (100, 200, 300):
        desk.deliver(desk.shard.change((0, "bid", price, 5)))
        pace.turn()
    desk.deliver(desk.shard.change((0, "bid", 400, 5)))
    drain(outbox, client)
    pace.turn()
    desk.deliver(desk.shard.change((0, "bid", 500, 5)))  # before it had its chance
    drain(outbox, client)
    assert client.levels == shown(desk.shard, NAMES)


def test_socket_that_lags_behind_what_is_not_known_does_not_count_as_lagging(monkeypatch):
    monkeypatch.setattr(outbox_module, "MAX_FRAMES", 1)
    desk = Desk()
    desk.restore()
    outbox = desk.join()
    desk.deliver(desk.shard.change((0, "bid", 100, 5)))
    assert outbox.is_lagging
    desk.feed.lose()
    assert not outbox.is_lagging
    desk.restore()
    assert outbox.is_lagging


def test_who_comes_back_gets_what_it_has_missed_and_no_snapshot():
    desk = Desk()
    desk.restore()
    outbox = desk.join()
    desk.deliver(desk.shard.change((0, "bid", 100, 5)))
    (*_, last) = sent(outbox)
    desk.leave(outbox)
    desk.deliver(desk.shard.change((0, "bid", 200, 5)))
    desk.deliver(desk.shard.change((0, "bid", 300, 5)))
    missed = sent(desk.join(resume_from=last["seq"]))
    assert seqs(missed) == [(2, 3), (3, 4)]
    assert [frame["data"]["type"] for frame in missed] == ["delta", "delta"]
    assert sent(desk.join(resume_from=4)) == []


@pytest.mark.parametrize("unknown", [0, 3, 99])
def test_who_comes_back_with_a_number_that_is_not_known_gets_a_snapshot(unknown):
    desk = Desk()
    desk.restore()
    desk.join()
    desk.deliver(desk.shard.change((0, "bid", 100, 5), events=5))
    (first,) = sent(desk.join(resume_from=unknown))
    assert (first["prev_seq"], first["seq"], first["data"]["type"]) == (None, 6, "snapshot")


def test_trades_across_a_hole_cannot_be_resumed():
    desk = Desk()
    desk.restore()
    outbox = desk.join("trades")
    desk.deliver(desk.shard.change(trades=[("t1", 0, 6500, 3, "buy")]))
    desk.shard.change(trades=[("t2", 0, 6500, 3, "buy")])  # lost
    desk.deliver(desk.shard.change(trades=[("t3", 0, 6500, 3, "buy")]))
    desk.restore()
    assert seqs(sent(outbox)) == [(None, 1), (1, 2), (None, 4)]
    (first,) = sent(desk.join("trades", resume_from=2))
    assert first["prev_seq"] is None


def told_twenty_times() -> Desk:
    """A book that is at 21 and whose every change was told."""
    desk = Desk()
    desk.restore()
    desk.join()
    for price in range(100, 120):
        desk.deliver(desk.shard.change((0, "bid", price, 5)))
    return desk


def test_who_has_missed_too_much_gets_a_snapshot(monkeypatch):
    monkeypatch.setattr(outbox_module, "MAX_MISSED_BYTES", 1_000)
    desk = told_twenty_times()
    assert seqs(sent(desk.join(resume_from=19))) == [(19, 20), (20, 21)]
    assert seqs(sent(desk.join(resume_from=1))) == [(None, 21)]


def test_room_for_what_was_missed_is_gone_once_it_is_sent():
    desk = Desk()
    desk.restore()
    desk.join()
    desk.deliver(desk.shard.change((0, "bid", 100, 5)))
    outbox = desk.join(resume_from=1)
    assert outbox._extra_frames == 1
    assert len(sent(outbox)) == 1
    outbox._catch_up()
    assert (outbox._extra_frames, outbox._extra_bytes) == (0, 0)


def test_nothing_is_resumed_where_some_of_what_follows_on_a_number_is_gone():
    kept = KeptFrames(Shelf())
    frames = [Frame(b"%d" % number) for number in range(4)]
    for prev_seq, each in zip((5, 5, 5, 6), frames, strict=True):
        kept.add(prev_seq, each)
    assert list(kept.since(5, newest=7) or ()) == frames
    kept.drop(frames[0])
    assert kept.since(5, newest=7) is None
    assert list(kept.since(6, newest=7) or ()) == frames[3:]
    assert kept.since(7, newest=7) is not None
    kept.forget_up_to(7)
    assert kept.since(7, newest=7) is None
    assert kept.since(8, newest=8) is not None
    assert kept.since(9, newest=8) is None


def test_frames_are_kept_up_to_a_number_of_bytes_and_for_a_time(monkeypatch):
    monkeypatch.setattr(kept_frames_module, "MOST_BYTES", 2_000)
    desk = told_twenty_times()
    assert len(sent(desk.join(resume_from=20))) == 1
    assert sent(desk.join(resume_from=5))[0]["prev_seq"] is None
    monkeypatch.setattr(kept_frames_module, "KEEP_SECONDS", 0.0)
    desk.deliver(desk.shard.change((0, "bid", 120, 5)))
    desk.deliver(desk.shard.change((0, "bid", 121, 5)))
    assert sent(desk.join(resume_from=20))[0]["prev_seq"] is None


def test_status_that_came_back_unseen_shows_as_a_fresh_start_of_the_channel():
    desk = Desk(["Yes", "No"])
    desk.restore()
    outbox = desk.join("lifecycle")
    desk.feed.lose()
    for desk.shard.status in ("suspended", "open"):
        desk.shard.change()
    desk.restore()
    assert seqs(sent(outbox)) == [(None, 1), (None, 3)]


def test_lifecycle_tells_each_status_and_how_the_market_ended():
    desk = Desk(["Yes", "No"], pace=OnTurn())
    desk.restore()
    outbox = desk.join("lifecycle")
    desk.deliver(desk.shard.change((0, "bid", 100, 5)))
    desk.shard.status = "suspended"
    desk.deliver(desk.shard.change())
    desk.shard.status, desk.shard.ending = "closed", ("resolution", [10_000, 0], "s-1", "the papers")
    desk.deliver(desk.shard.change())
    desk.shard.status = "resolved"
    desk.deliver(desk.shard.change())
    frames = sent(outbox)
    assert seqs(frames) == [(None, 1), (1, 3), (3, 4), (4, 5)]
    assert [frame["data"]["status"] for frame in frames] == ["open", "suspended", "closed", "resolved"]
    assert [frame["data"]["resolution"] for frame in frames[:3]] == [None] * 3
    assert frames[3]["data"]["resolution"] == {
        "kind": "resolve",
        "outcome": "Yes",
        "payouts": {"Yes": "1.0000", "No": "0.0000"},
        "evidence": "the papers",
        "settlement_id": "s-1",
    }


def drain(outbox: Outbox, client: BookClient) -> None:
    """What the writer does for a socket that reads again."""
    while True:
        if not outbox._frames:
            outbox._catch_up()
        if not outbox._frames:
            return
        frame = outbox._frames.popleft()
        outbox._bytes -= len(frame.wire)
        client.take(frame.text)


STEPS = ["join", "restore", "outage", "read", "leave", "turn", "go", "come back"]
level_changes = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["bid", "ask"]), st.integers(1, 30), st.integers(0, 3)),
    max_size=4,
    unique_by=lambda level: level[:3],
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("change"), level_changes),
        st.tuples(st.just("lost"), level_changes),
        st.tuples(st.just("reset"), level_changes),
        st.tuples(st.sampled_from(STEPS), st.just([])),
    ),
    max_size=60,
)


class Crowd:
    """Clients of one channel `book`: those that are there, and those that went and may come back."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.here: list[tuple[Outbox, BookClient]] = []
        self.away: list[BookClient] = []

    def join(self, client: BookClient) -> None:
        self.here.append((self.desk.join(resume_from=client.seq), client))

    def go(self, *, for_good: bool) -> None:
        if self.here:
            outbox, client = self.here.pop()
            self.desk.leave(outbox)
            if not for_good:
                self.away.append(client)

    def read(self) -> None:
        for outbox, client in self.here:
            drain(outbox, client)


@settings(max_examples=300, deadline=None)
@given(steps=steps, waits=st.booleans())
def test_snapshot_and_deltas_always_equal_a_fresh_snapshot(steps, waits):
    pace = OnTurn()
    desk = Desk(pace=pace if waits else None)
    crowd = Crowd(desk)
    normal = outbox_module.MAX_FRAMES
    outbox_module.MAX_FRAMES = 4
    try:
        for step, levels in steps:
            known = [level for level in levels if level[3] or level[:3] in desk.shard.levels]
            play(desk, crowd, pace, step, known)
        desk.restore()
        for client in crowd.away:
            crowd.join(client)
        pace.turn()
        crowd.read()
        for _, client in crowd.here:
            assert client.levels == shown(desk.shard, NAMES)
    finally:
        outbox_module.MAX_FRAMES = normal


def play(desk: Desk, crowd: Crowd, pace: OnTurn, step: str, levels: list[Any]) -> None:
    match step:
        case "change":
            desk.deliver(desk.shard.change(*levels))
        case "lost":
            desk.shard.change(*levels)
        case "reset":
            desk.deliver(desk.shard.change(*levels, reset=True))
        case "join":
            crowd.join(BookClient())
        case "restore" if not desk.feed.is_current:
            desk.restore()
        case "outage":
            desk.feed.lose()
        case "leave" | "go":
            crowd.go(for_good=step == "leave")
        case "come back" if crowd.away:
            crowd.join(crowd.away.pop())
        case "read":
            crowd.read()
        case "turn":
            pace.turn()
