"""Finds one order in the read model, by id or by its owner's client id; waits a little for what is committed.

A claimed client id whose order is not readable yet is on its way: that is what the waiting is for.
"""

import threading
import time
from typing import Any, NamedTuple

from django.db import connection

from trading.as_of import token_of, wait_for
from trading.errors import ReadLag
from trading.ids import id_time_ms
from trading.order_view import ORDER_COLUMNS, ORDER_WIDTH, order_view_of
from trading.patience import pauses
from trading.wire import OrderView

PROJECTION = "orders"
WAIT_S = 2.0
# An order this old would have been readable long ago, and one so far ahead is nobody's: no use in waiting.
YOUNG_MS = 10_000
AHEAD_MS = 1_000
# Each look-up that waits holds a thread: the rest are told to come again, or a few callers could stop a process.
MAX_WAITING = 8
_waiting_room = threading.BoundedSemaphore(MAX_WAITING)

# One statement, so that an order, its fills and the token are from one moment.
_ORDER = f"""
SELECT {ORDER_COLUMNS},
       slot.slot, slot.next_offset, c.next_offset, f.trade_id::text, f.price_pips, f.quantity, f.fee_pips
FROM "order" o JOIN stream ON stream.id = o.market_id JOIN slot ON slot.slot = stream.slot
JOIN projection_checkpoint c ON c.slot = slot.slot AND c.projection = %s
LEFT JOIN fill f ON f.order_id = o.order_id WHERE o.order_id = %s ORDER BY f.trade_id
"""  # noqa: S608


class FoundOrder(NamedTuple):
    """An order as the read model has it, how far its slot is written, and how much of that is read."""

    view: OrderView
    slot: int
    written: int
    read: int

    @property
    def as_of(self) -> str:
        """The token of what this reflects."""
        return f"{self.slot}-{self.read - 1}"


class _Claim(NamedTuple):
    """What a client id of an account stands for; an amend's or a deposit's names no order."""

    order_id: str | None
    market_id: str | None


def find_order(
    *, account_id: str, order_id: str | None, client_order_id: str | None, min_as_of: str | None = None,
    wait: bool = True, fresh: bool = False,
) -> FoundOrder | None:  # fmt: skip
    """An order of the account, or None.

    Up to 2 s are spent on one that is claimed and, with `wait`, on one that may be on its way; with `fresh`, on
    showing an open one as the log has it now, else as far as it can be read. Raises ReadLag where `min_as_of` is not
    reached, or an order that is claimed is not readable, in time, and for one that may be on its way while too many
    wait already.
    """
    if min_as_of is not None:
        wait_for(min_as_of, (PROJECTION,))
    search = _Search(account_id, order_id, client_order_id, fresh)
    if not search.is_over(wait=wait):
        if not _waiting_room.acquire(blocking=False):
            if search.found is None:
                raise ReadLag(
                    "Too many look-ups wait already: it is not known yet whether there is such an order."
                )
            return search.result()
        try:
            deadline = time.monotonic() + WAIT_S
            pause = pauses()
            while not search.is_over(wait=wait) and time.monotonic() < deadline:
                time.sleep(next(pause))
        finally:
            _waiting_room.release()
    return search.result()


class _Search:
    """One look-up, asked again and again: what was found so far, and whether more may come."""

    def __init__(
        self, account_id: str, order_id: str | None, client_order_id: str | None, fresh: bool
    ) -> None:
        self.account_id, self.order_id, self.client_order_id = account_id, order_id, client_order_id
        self.fresh = fresh
        self.claim: _Claim | None = None
        self.found: FoundOrder | None = None
        self.written: int | None = None

    @property
    def is_claimed(self) -> bool:
        """Whether the client id stands for an order."""
        return self.claim is not None and self.claim.order_id is not None

    def is_over(self, *, wait: bool) -> bool:
        """Reads once; whether there is nothing left to wait for."""
        if self.client_order_id is not None:
            self.claim = _claim(self.account_id, self.client_order_id)
            self.order_id = self.claim.order_id if self.claim is not None else None
        self.found = _read(self.order_id) if self.order_id is not None else None
        if self.found is None:
            may_come = self.is_claimed or (
                wait and _may_come(self.order_id, self.client_order_id, self.claim)
            )
            return not may_come
        if self.written is None:
            self.written = self.found.written
        return not self.fresh or self.found.view.status != "open" or self.found.read >= self.written

    def result(self) -> FoundOrder | None:
        if self.found is None:
            if self.is_claimed:
                raise ReadLag()
            return None
        return self.found if self.found.view.account_id == self.account_id else None


def _may_come(order_id: str | None, client_order_id: str | None, claim: "_Claim | None") -> bool:
    """Whether an order that is not there may be there soon."""
    if client_order_id is not None:
        return claim is None
    return order_id is not None and -AHEAD_MS < time.time() * 1000 - id_time_ms(order_id) < YOUNG_MS


def market_of_client_id(*, account_id: str, client_order_id: str) -> str | None:
    """The market of the command that claimed a client id; None if none has."""
    claim = _claim(account_id, client_order_id)
    return claim.market_id if claim is not None else None


def market_of_order(*, account_id: str, order_id: str) -> str | None:
    """The market of an order that is claimed under its own id, as those without a client id are; else None."""
    claim = _claim(account_id, order_id)
    # The same text may be the client id of another order.
    return claim.market_id if claim is not None and claim.order_id == order_id else None


def open_order_markets(*, account_id: str) -> list[str]:
    """The markets in which the account may have open orders, those of batches under way among them.

    Open batches are read first, then what the read model lacks of the log's end, then the read model: whatever
    moves from one to the next meanwhile is seen twice rather than not at all.
    """
    markets = {market_id for (market_id,) in _query(_UNDER_WAY, [account_id, account_id])}
    for slot, from_offset, recorded_at, end in _query(_BEHIND, [PROJECTION]):
        rows = _query(_PLACED, [recorded_at, slot, from_offset, end, account_id])
        markets.update(market_id for (market_id,) in rows)
    rows = _query(
        "SELECT DISTINCT market_id::text FROM \"order\" WHERE account_id = %s AND status = 'open'",
        [account_id],
    )
    return sorted(markets.union(market_id for (market_id,) in rows))


def raise_fence(*, account_id: str, fence: str) -> None:
    """Orders of the account with an id below `fence` that no shard has reserved for yet are refused from now on.

    Waits for a reservation that is just being made: it is visible afterwards.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE cash_account SET fence = greatest(fence, %s) WHERE account_id = %s", [fence, account_id]
        )


def catch_up() -> None:
    """Returns once every order is readable that was, or is just being, committed. Raises ReadLag after 2 s."""
    deadline = time.monotonic() + WAIT_S
    in_flight, pause = _open_batches(), pauses()
    while in_flight & _open_batches():
        if time.monotonic() > deadline:
            raise ReadLag()
        time.sleep(next(pause))
    heads = _query("SELECT slot, next_offset FROM slot WHERE kind = 'market'", [])
    wait_for(token_of(heads), (PROJECTION,), max(0.0, deadline - time.monotonic()))


# The markets of commands that a shard has reserved for and not committed yet.
_UNDER_WAY = """
SELECT DISTINCT c.market_id::text
FROM batch b CROSS JOIN unnest(b.claim_accounts, b.claim_keys) AS k(account_id, key)
JOIN client_order c ON c.account_id = k.account_id AND c.key = k.key
WHERE %s = ANY(b.claim_accounts) AND k.account_id = %s AND c.market_id IS NOT NULL
"""

# The slots whose end the read model has not reached: where it stands and where they end.
_BEHIND = """
SELECT s.slot, coalesce(c.next_offset, 0), coalesce(c.recorded_at, to_timestamp(0)), s.next_offset
FROM slot s LEFT JOIN projection_checkpoint c ON c.slot = s.slot AND c.projection = %s
WHERE s.kind = 'market' AND coalesce(c.next_offset, 0) < s.next_offset
"""

_PLACED = """
SELECT DISTINCT stream_id::text FROM event
WHERE recorded_at >= %s AND slot = %s AND slot_offset >= %s AND slot_offset < %s
  AND type = 'order_placed/1' AND data->>'account' = %s
"""


def _open_batches() -> set[str]:
    return {batch_id for (batch_id,) in _query("SELECT batch_id::text FROM batch", [])}


def _claim(account_id: str, key: str) -> _Claim | None:
    rows = _query(
        "SELECT order_id::text, market_id::text FROM client_order WHERE account_id = %s AND key = %s",
        [account_id, key],
    )
    return _Claim(*rows[0]) if rows else None


def _read(order_id: str) -> FoundOrder | None:
    rows = _query(_ORDER, [PROJECTION, order_id])
    if not rows:
        return None
    *place, first_trade, _, _, _ = rows[0][ORDER_WIDTH:]
    fills = [] if first_trade is None else [row[-4:] for row in rows]
    return FoundOrder(order_view_of(rows[0][:ORDER_WIDTH], fills), *place)


def _query(sql: str, arguments: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, arguments)
        return cursor.fetchall()
