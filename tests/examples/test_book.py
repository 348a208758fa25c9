"""A Book by itself: what it takes in, and when it says that it must not be used, and why."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.pmarket_client import MAX_SILENCE_S, Book, NotTrusted, Problem, price_text
from trading.live.book_mirror import BookMirror, FeedUpdate
from trading.live.feed_frames import book_delta, book_snapshot, encode


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Server:
    """Makes the frames of one market as the exchange does."""

    def __init__(self, *names: str) -> None:
        self.mirror = BookMirror(names or ("Yes", "No"), 1)

    def snapshot(self, prev_seq: int | None = None) -> dict:
        return self._frame(prev_seq, book_snapshot(self.mirror))

    def change(self, *levels: tuple[int, str, int, int]) -> dict:
        prev_seq = self.mirror.seq
        update = FeedUpdate(m="m", seq=prev_seq + 2, prev=prev_seq, at_us=0, levels=list(levels))
        self.mirror.apply(update)
        return self._frame(prev_seq, book_delta(self.mirror, levels))

    def _frame(self, prev_seq: int | None, data: dict) -> dict:
        frame = {"channel": "book", "market_id": "m", "seq": self.mirror.seq, "prev_seq": prev_seq}
        return json.loads(encode({**frame, "sent_at": "", "data": data}).text)

    def levels(self, side: str) -> dict:
        texts = self.mirror.bids() if side == "bid" else self.mirror.asks()
        return {name: [(price, size) for price, size in levels] for name, levels in texts.items()}


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(server: Server, clock: Clock) -> Book:
    """A trusted book with a bid of 120 at 0.6500 and an ask of 5 at 0.6700."""
    book = Book("m", clock=clock)
    book.take(server.snapshot())
    book.take(server.change((0, "bid", 6500, 120), (0, "ask", 6700, 5)))
    assert book.trusted
    return book


def test_a_book_is_what_snapshot_and_deltas_say(book: Book, server: Server):
    assert (book.bids("Yes"), book.asks("Yes"), book.best("Yes")) == (
        [(6500, 120)],
        [(6700, 5)],
        (6500, 6700),
    )
    assert book.checksum() == 3479377447
    book.take(server.change((0, "bid", 6500, 0), (0, "bid", 6400, 7), (0, "bid", 6300, 1)))
    assert (book.bids("Yes"), book.best("Yes")) == ([(6400, 7), (6300, 1)], (6400, 6700))
    assert (book.outcomes, book.why) == (["Yes"], "")


def test_an_empty_book_is_known_and_has_no_prices(server: Server):
    book = Book("m")
    book.take(server.snapshot())
    assert (book.trusted, book.best("Yes"), book.checksum()) == (True, (None, None), 0)


@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(0, 2), st.sampled_from(["bid", "ask"]), st.integers(1, 40), st.integers(0, 3)),
            min_size=1, max_size=8, unique_by=lambda level: level[:3],
        ),
        max_size=25,
    ),
    st.integers(0, 25),
)  # fmt: skip
def test_a_book_agrees_with_the_exchanges_own_after_any_changes(batches, joined_after):
    server, book = Server("A", "B", "C"), Book("m")
    for number, levels in enumerate(batches):
        frame = server.change(*levels)
        if number >= joined_after:
            book.take(server.snapshot() if number == joined_after else frame)
    if len(batches) <= joined_after:
        book.take(server.snapshot())
    assert book.trusted
    for side, levels_of in (("bid", book.bids), ("ask", book.asks)):
        mine = {name: [(price_text(p), q) for p, q in levels_of(name)] for name in book.outcomes}
        assert mine == server.levels(side)


def test_a_book_without_a_snapshot_cannot_be_read():
    book = Book("m")
    assert (book.trusted, book.why) == (False, "no snapshot yet")
    with pytest.raises(NotTrusted, match="no snapshot yet"):
        book.bids("Yes")


def test_a_frame_that_does_not_follow_is_a_gap_until_a_snapshot_comes(book: Book, server: Server):
    server.change((0, "bid", 6400, 1))
    book.take(server.change((0, "bid", 6300, 1)))
    assert (book.why, book.needs_new_start, book.seq) == ("gap", True, 3)
    with pytest.raises(NotTrusted, match="gap"):
        book.best("Yes")
    book.take(server.change((0, "bid", 6200, 1)))
    assert book.why == "gap"
    book.take(server.snapshot())
    assert (book.why, [price for price, _ in book.bids("Yes")]) == ("", [6500, 6400, 6300, 6200])


def test_a_gap_is_closed_by_the_frames_that_were_missed(book: Book, server: Server):
    missed = server.change((0, "bid", 6400, 1))
    late = server.change((0, "bid", 6300, 1))
    book.take(late)
    book.take(missed)
    book.take(late)
    assert (book.why, book.seq) == ("", late["seq"])


def test_a_repeated_or_older_frame_is_a_gap(book: Book, server: Server):
    frame = server.change((0, "bid", 6400, 1))
    book.take(frame)
    book.take(frame)
    assert book.why == "gap"


def test_a_later_snapshot_replaces_everything_whatever_it_follows_on(book: Book, server: Server):
    server.change((0, "bid", 6500, 0))
    server.change((0, "bid", 6100, 9))
    book.take(server.snapshot(prev_seq=3))
    assert (book.trusted, book.bids("Yes")) == (True, [(6100, 9)])


def test_a_snapshot_from_before_is_a_gap_unless_it_starts_afresh(book: Book):
    older = Server()
    book.take(older.snapshot(prev_seq=0))
    assert book.why == "gap"
    book.take(older.snapshot())
    assert (book.why, book.seq, book.bids("Yes")) == ("", 1, [])


def test_a_wrong_checksum_makes_the_levels_worthless(book: Book, server: Server):
    frame = server.change((0, "bid", 6400, 1))
    frame["data"]["checksum"] += 1
    book.take(frame)
    assert (book.why, book.needs_new_start, book.seq) == ("checksum", True, None)
    book.take(server.change((0, "bid", 6300, 1)))
    assert book.why == "checksum"
    book.take(server.snapshot())
    assert book.trusted


HOSTILE = [
    {},
    {"data": None},
    {"data": []},
    {"data": {}},
    {"data": {"type": "poem"}},
    {"data": {"type": "snapshot"}},
    {"data": {"type": "snapshot", "bids": [], "asks": [], "checksum": 0}},
    {"data": {"type": "snapshot", "bids": {"Yes": []}, "asks": {}, "checksum": 0}},
    {"data": {"type": "snapshot", "bids": {"Yes": [["0.5000", -1]]}, "asks": {"Yes": []}, "checksum": 0}},
    {"data": {"type": "snapshot", "bids": {"Yes": [["0.5000", True]]}, "asks": {"Yes": []}, "checksum": 0}},
    {"data": {"type": "snapshot", "bids": {"Yes": [["0.5"] * 2]}, "asks": {"Yes": []}, "checksum": 0}},
    {"data": {"type": "snapshot", "bids": {"Yes": [["1.0000", 5]]}, "asks": {"Yes": []}, "checksum": 0}},
    {"data": {"type": "snapshot", "bids": {"Yes": [[0.5, 5]]}, "asks": {"Yes": []}, "checksum": 0}},
    {"data": {"type": "snapshot", "bids": {"Yes": 7}, "asks": {"Yes": []}, "checksum": 0}},
    {"data": {"type": "delta", "changes": None, "checksum": 0}},
    {"data": {"type": "delta", "changes": [["Yes", "bid"]], "checksum": 0}},
    {"data": {"type": "delta", "changes": [["Perhaps", "bid", "0.5000", 1]], "checksum": 0}},
    {"data": {"type": "delta", "changes": [["Yes", "middle", "0.5000", 1]], "checksum": 0}},
    {"data": {"type": "delta", "changes": [[[], {}, "0.5000", 1]], "checksum": 0}},
    {"data": {"type": "delta", "changes": [["Yes", "bid", "0.5000", 10.5]], "checksum": 0}},
    {"data": {"type": "delta", "changes": []}},
    {"data": {"type": "delta", "changes": [], "checksum": "0"}},
    {"seq": "4"},
    {"seq": None},
    {"seq": -4},
    {"seq": 3},
    {"prev_seq": "3"},
    {"prev_seq": [3]},
    {"prev_seq": None},
]


@pytest.mark.parametrize("wrong", HOSTILE, ids=lambda wrong: json.dumps(wrong)[:60])
def test_a_frame_that_makes_no_sense_ends_the_trust_and_a_snapshot_brings_it_back(
    book: Book, server: Server, wrong: dict
):
    frame = {
        "seq": 4,
        "prev_seq": 3,
        "data": {"type": "delta", "changes": [], "checksum": 3479377447},
    } | wrong
    if not wrong:
        del frame["data"]
    book.take(frame)
    assert book.why in {"malformed frame", "gap", "checksum"}
    assert book.needs_new_start
    book.take(server.snapshot())
    assert book.bids("Yes") == [(6500, 120)]


def test_fields_that_are_not_known_are_passed_over(book: Book, server: Server):
    frame = server.change((0, "bid", 6400, 1))
    frame["data"]["colour"] = frame["mood"] = ["new"]
    book.take(frame)
    assert book.trusted


# Age and heartbeats -------------------------------------------------------------------------------


def test_a_book_that_nobody_vouches_for_grows_old_and_a_heartbeat_makes_it_young(book: Book, clock: Clock):
    clock.now_s = MAX_SILENCE_S
    assert (book.trusted, book.age_s) == (True, MAX_SILENCE_S)
    clock.now_s = 12.5
    assert (book.trusted, book.why) == (False, "silent for 12 s")
    with pytest.raises(NotTrusted, match="silent"):
        book.asks("Yes")
    version = book.version
    book.hear(is_live=True, seq=3)
    assert (book.trusted, book.age_s, book.version) == (True, 0, version + 1)


def test_a_heartbeat_that_names_a_newer_number_is_a_gap(book: Book):
    book.hear(is_live=True, seq=4)
    assert (book.why, book.needs_new_start) == ("gap", True)


@pytest.mark.parametrize(("is_live", "seq"), [(False, 3), (False, None), (True, None)])
def test_a_server_that_cannot_vouch_makes_it_untrusted_until_it_can(book: Book, is_live, seq):
    book.hear(is_live=is_live, seq=seq)
    assert (book.why, book.needs_new_start) == ("server not live", False)
    book.hear(is_live=True, seq=3)
    assert book.trusted


def test_a_heartbeat_does_not_heal_a_gap_or_a_wrong_checksum(book: Book, server: Server):
    server.change((0, "bid", 6400, 1))
    book.take(server.change((0, "bid", 6300, 1)))
    book.hear(is_live=True, seq=3)
    assert book.why == "gap"


def test_a_lost_connection_is_said_and_what_was_known_may_be_resumed(book: Book, server: Server):
    missed = server.change((0, "bid", 6400, 1))
    book.lose("disconnected")
    assert (book.why, book.needs_new_start, book.seq) == ("disconnected", False, 3)
    book.take(missed)
    assert book.trusted


def test_a_subscription_that_the_server_refuses_says_so(book: Book):
    book.refuse(Problem(404, {"code": "not_found"}))
    assert book.why == "refused: not_found"


async def test_whoever_waits_is_woken_by_a_change_and_by_a_loss_of_trust(book: Book, server: Server):
    for happen in (lambda: book.take(server.change((0, "bid", 6400, 1))), lambda: book.lose("disconnected")):
        version = book.version
        waiting = asyncio.create_task(book.newer(version))
        await asyncio.sleep(0)
        assert not waiting.done()
        happen()
        assert await waiting > version


async def test_nobody_is_woken_by_a_heartbeat_that_says_nothing_new(book: Book):
    version = book.version
    book.hear(is_live=True, seq=3)
    assert book.version == version
