"""The hub's copy of a book, and the checksum that client and hub compare."""

import pytest

from tests.trading.live.feed_client import FakeShard
from trading.checksum import book_checksum
from trading.live.book_mirror import BookMirror, FeedGap, FeedUpdate
from trading.live.feed_frames import book_delta, book_snapshot

MARKET = "0199aaaa-0000-7000-8000-000000000001"


def update(**fields) -> FeedUpdate:
    return FeedUpdate(m=MARKET, at_us=0, **fields)


def test_checksum_of_the_documented_book():
    assert book_checksum([("Yes", [(6500, 120)], [(6700, 5)])]) == 3479377447


def test_checksum_takes_ten_levels_a_side_and_writes_no_empty_line():
    deep = [(5000 - n, 1) for n in range(15)]
    assert book_checksum([("A", deep, []), ("B", [], [])]) == book_checksum([("A", deep[:10], [])])
    assert book_checksum([("A", [], []), ("B", [(100, 1)], [])]) == book_checksum([("B", [(100, 1)], [])])
    assert book_checksum([("A", [], [])]) == 0


def test_binary_market_shows_its_first_outcome_alone():
    mirror = BookMirror.from_hash(["Yes", "No"], {b"seq": b"7", b"0|bid|6500": b"120", b"0|ask|6700": b"5"})
    assert mirror is not None
    assert book_snapshot(mirror) == {
        "type": "snapshot",
        "bids": {"Yes": [("0.6500", 120)]},
        "asks": {"Yes": [("0.6700", 5)]},
        "checksum": 3479377447,
    }


def test_categorical_market_shows_every_outcome_with_lists_never_null():
    mirror = BookMirror.from_hash(["A", "B", "C"], {b"seq": b"1", b"2|ask|100": b"3"})
    assert mirror is not None
    assert mirror.bids() == {"A": [], "B": [], "C": []}
    assert mirror.asks() == {"A": [], "B": [], "C": [("0.0100", 3)]}


def test_levels_are_absolute_best_first_and_zero_removes():
    mirror = BookMirror(["Yes", "No"], 1)
    mirror.apply(update(seq=2, prev=1, levels=[(0, "bid", 100, 5), (0, "bid", 300, 6), (0, "bid", 200, 7)]))
    mirror.apply(update(seq=5, prev=2, levels=[(0, "bid", 200, 1), (0, "bid", 100, 0), (0, "bid", 50, 0)]))
    assert mirror.bids() == {"Yes": [("0.0300", 6), ("0.0200", 1)]}
    assert mirror.seq == 5


def test_delta_names_outcomes_and_new_sizes():
    mirror = BookMirror(["Yes", "No"], 1)
    levels = [(0, "bid", 6500, 120), (0, "ask", 6700, 5)]
    mirror.apply(update(seq=2, prev=1, levels=levels))
    assert book_delta(mirror, levels) == {
        "type": "delta",
        "changes": [("Yes", "bid", "0.6500", 120), ("Yes", "ask", "0.6700", 5)],
        "checksum": 3479377447,
    }


@pytest.mark.parametrize(("seq", "prev"), [(9, 8), (9, 6), (7, 7), (6, 5), (9, None)])
def test_update_that_does_not_follow_is_a_gap_and_changes_nothing(seq, prev):
    mirror = BookMirror(["Yes", "No"], 7)
    with pytest.raises(FeedGap):
        mirror.apply(update(seq=seq, prev=prev, levels=[(0, "bid", 100, 5)]))
    assert (mirror.seq, mirror.bids()) == (7, {"Yes": []})


def test_hash_without_seq_is_no_book():
    assert BookMirror.from_hash(["Yes", "No"], {}) is None
    assert BookMirror.from_hash(["Yes", "No"], {b"0|bid|6500": b"120"}) is None


@pytest.mark.parametrize("field", [b"1|bid|100", b"0|both|100", b"0|bid|0", b"0|bid|10000", b"nonsense"])
def test_foul_levels_are_refused(field):
    with pytest.raises(ValueError):
        BookMirror.from_hash(["Yes", "No"], {b"seq": b"1", field: b"1"})


def test_checksum_follows_every_change():
    shard = FakeShard(MARKET, outcomes=3)
    mirror = BookMirror(["A", "B", "C"], 1)
    for step in range(60):
        level = (step % 3, "bid" if step % 2 else "ask", 100 + step % 25, step % 4)
        known = (level[0], level[1], level[2]) in shard.levels
        if not level[3] and not known:
            continue
        change = shard.change(level)
        mirror.apply(update(seq=change["seq"], prev=change["prev"], levels=[level]))
        fresh = BookMirror.from_hash(["A", "B", "C"], shard.book_hash())
        assert fresh is not None
        assert mirror.checksum() == fresh.checksum()
        assert book_snapshot(mirror) == book_snapshot(fresh)
