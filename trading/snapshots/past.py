"""Markets as they were at a past moment, for callers who wait: a replay's cost is bounded, and its result kept.

A moment's state has everything in it that was recorded by then. A commit that is under way may still be recorded at
a time of a few seconds ago; what is older never changes.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from trading.engine.market import Market
from trading.errors import InvalidRequest, NotFound, NotKept, Overloaded
from trading.eventlog.tail import recorded_us_of, stream_end
from trading.snapshots.replay import LogUnusable, State, nearest_state, replay, version_at

LONGEST_TAIL = 50_000
"""Most events that are replayed for a caller who waits: a quarter to half a second of a core."""

REPLAYS_AT_ONCE = 2
WAIT_S = 1.0
MOST_KEPT = 64

Levels = tuple[tuple[int, int], ...]


class PastMarket(NamedTuple):
    """What was to be seen of a market after an event. `books` are (bids, asks) of (price, quantity), best first."""

    market_id: str
    seq: int
    slot: int
    slot_offset: int
    recorded_us: int
    status: str
    last_prices: tuple[int | None, ...]
    books: tuple[tuple[Levels, Levels], ...]


_kept: OrderedDict[tuple[str, int], PastMarket] = OrderedDict()
_kept_lock = threading.Lock()
_replays = threading.BoundedSemaphore(REPLAYS_AT_ONCE)


def past_market(cursor: Any, market_id: str, at_us: int) -> PastMarket:
    """The market as it was at a time.

    Raises InvalidRequest for a time to come, NotFound before the market's first event, Overloaded where the nearest
    snapshot is too far or too many ask at once, NotKept where the log does not have the events.
    """
    try:
        _refuse_the_future(cursor, market_id, at_us)
        version = version_at(cursor, market_id, at_us)
        if version == 0:
            raise NotFound("The market did not exist then.")
        known = _recall(market_id, version)
        return known if known is not None else _rebuild(cursor, market_id, version)
    except LogUnusable as error:
        raise NotKept(f"The log cannot tell: {error}.") from error


@contextmanager
def newest_market(cursor: Any, market_id: str) -> Iterator[State]:
    """The whole state after the market's last event, for a caller who waits; the caller may change it.

    Few are in memory at once, so leave the block soon. Raises Overloaded and NotKept as `past_market` does.
    """
    try:
        end = stream_end(cursor, market_id)
        if end is None:
            yield State(Market(market_id))
            return
        with _a_replay():
            yield _replayed(cursor, market_id, end.head.version)
    except LogUnusable as error:
        raise NotKept(f"The log cannot tell: {error}.") from error


def past_shares(cursor: Any, market_id: str, account_id: str, at_us: int) -> tuple[int, ...]:
    """The account's shares of each outcome at a time, those that back open orders included; empty before the market.

    As trading has left them: what a settlement has closed is not taken off. Raises Overloaded and NotKept as
    `past_market` does.
    """
    try:
        version = version_at(cursor, market_id, at_us)
        if version == 0:
            return ()
        with _a_replay():
            holding = _replayed(cursor, market_id, version).market.holdings.get(account_id)
    except LogUnusable as error:
        raise NotKept(f"The log cannot tell: {error}.") from error
    if holding is None:
        return ()
    return tuple(free + held for free, held in zip(holding.free, holding.held, strict=True))


def state_at(cursor: Any, market_id: str, at_us: int, **options: Any) -> State:
    """The whole state at a time, however far it is from a snapshot; options as of `replay`. Raises LogUnusable."""
    version = version_at(cursor, market_id, at_us)
    return replay(
        cursor, nearest_state(cursor, market_id, upto_version=version), upto_version=version, **options
    )


def forget_the_past() -> None:
    """Empties what is kept: for tests, which write logs anew."""
    with _kept_lock:
        _kept.clear()


def _refuse_the_future(cursor: Any, market_id: str, at_us: int) -> None:
    """A time is past if this clock or the market's stream has reached it; another host's clock may be ahead."""
    if at_us <= time.time_ns() // 1000:
        return
    end = stream_end(cursor, market_id)
    last_us = None
    if end is not None:
        last_us = recorded_us_of(cursor, stream_id=market_id, version=end.head.version)
    if last_us is None or at_us > last_us:
        raise InvalidRequest("That time has not come yet.", errors={"at": ["must not be in the future"]})


@contextmanager
def _a_replay() -> Iterator[None]:
    if not _replays.acquire(timeout=WAIT_S):
        raise Overloaded("Too many replays are asked for at once.")
    try:
        yield
    finally:
        _replays.release()


def _replayed(cursor: Any, market_id: str, version: int) -> State:
    state = nearest_state(cursor, market_id, upto_version=version)
    if (tail := version - state.head.version) > LONGEST_TAIL:
        raise Overloaded(
            f"That moment is {tail} events from the nearest snapshot, more than {LONGEST_TAIL}; snapshots are "
            "taken every minute, so ask again later, or have the operator run manage.py replay_market."
        )
    return replay(cursor, state, upto_version=version)


def _rebuild(cursor: Any, market_id: str, version: int) -> PastMarket:
    with _a_replay():
        state = _replayed(cursor, market_id, version)
        end = stream_end(cursor, market_id)
        assert end is not None, "a stream with events has a head"
        seen = PastMarket(
            market_id, version, end.slot, state.slot_offset, state.recorded_us, state.market.status,
            tuple(state.market.last_prices), books_of(state.market),
        )  # fmt: skip
    with _kept_lock:
        _kept[market_id, version] = seen
        while len(_kept) > MOST_KEPT:
            _kept.popitem(last=False)
    return seen


def books_of(market: Market) -> tuple[tuple[Levels, Levels], ...]:
    """Every book's levels, best first."""
    return tuple((tuple(book.bids.depth()), tuple(book.asks.depth())) for book in market.books)


def _recall(market_id: str, version: int) -> PastMarket | None:
    with _kept_lock:
        known = _kept.get((market_id, version))
        if known is not None:
            _kept.move_to_end((market_id, version))
        return known
