"""What has happened in a market, past tense. Field names are the stored names (see codec.py).

`cash` is always the change of the account's free cash in pips, `reserved` what its order holds
afterwards, `netted` the complete sets that turned back into $1 each. Balances replay from these
fields alone.
"""

from typing import NamedTuple


class MarketCreated(NamedTuple):
    market: str
    question: str
    outcomes: tuple[str, ...]
    category: str
    tick: int
    taker_fee_e4: int
    maker_fee_e4: int
    opens_us: int | None
    closes_us: int
    created_us: int


class MarketOpened(NamedTuple):
    pass


class MarketSuspended(NamedTuple):
    reason: str


class MarketResumed(NamedTuple):
    pass


class MarketClosed(NamedTuple):
    """Matching has stopped; `reason` (time, resolution or void) says what follows the cancels."""

    reason: str
    payouts: tuple[int, ...] | None
    settlement: str | None
    evidence: str


class MarketResolved(NamedTuple):
    payouts: tuple[int, ...]
    settlement: str
    evidence: str
    sets: int
    fees: int


class MarketVoided(NamedTuple):
    settlement: str
    evidence: str
    sets: int
    fees: int


class OrderPlaced(NamedTuple):
    """`covered` units are backed by shares held, the rest by the reserved cash."""

    order: str
    account: str
    client_order_id: str | None
    outcome: int
    side: str
    type: str
    price: int
    quantity: int
    tif: str
    stp: str
    covered: int
    reserved: int
    cash: int


class OrderRejected(NamedTuple):
    order: str
    account: str
    client_order_id: str | None
    outcome: int
    side: str
    type: str
    price: int
    quantity: int
    tif: str
    reason: str


class Leg(NamedTuple):
    """One order's part of a match, in its owner's terms; `delivered` units came from shares held."""

    order: str
    account: str
    role: str
    outcome: int
    side: str
    price: int
    quantity: int
    fee: int
    delivered: int
    netted: int
    cash: int
    reserved: int


class OrderMatched(NamedTuple):
    """Outcome, price and taker's side in the book's terms (outcome 0 in a binary market)."""

    trade: str
    outcome: int
    price: int
    quantity: int
    taker_side: str
    legs: tuple[Leg, ...]


class OrderCancelled(NamedTuple):
    """`quantity` was left; `released` units of earmarked shares became free."""

    order: str
    account: str
    reason: str
    quantity: int
    released: int
    netted: int
    cash: int


class OrderAmended(NamedTuple):
    """`quantity` is the new total, filled part included."""

    order: str
    account: str
    quantity: int
    released: int
    netted: int
    cash: int
    reserved: int


class CommandRefused(NamedTuple):
    account: str | None
    command: str
    order: str | None
    reason: str


class PositionOpened(NamedTuple):
    account: str


Event = (
    MarketCreated | MarketOpened | MarketSuspended | MarketResumed | MarketClosed | MarketResolved | MarketVoided
    | OrderPlaced | OrderRejected | OrderMatched | OrderCancelled | OrderAmended | CommandRefused | PositionOpened
)  # fmt: skip
