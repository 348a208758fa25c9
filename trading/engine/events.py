"""What has happened in a market, past tense. Field names are the stored names.

An event is stored as a JSON object. Fields stand in alphabetical order, so that the JSON is canonical as it is
encoded; one that has its default is left out. `cash` is always the change of the account's free cash in pips,
`reserved` what its order holds afterwards, `netted` the complete sets that turned back into $1 each. Balances
replay from these fields alone.
"""

import msgspec


class _Event(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """A field that no code knows is an error: a log is never read with parts left out."""


class MarketCreated(_Event, frozen=True, kw_only=True):
    category: str
    closes_us: int
    created_us: int
    maker_fee_e4: int
    market: str
    opens_us: int | None = None
    outcomes: tuple[str, ...]
    question: str
    taker_fee_e4: int
    tick: int


class MarketOpened(_Event, frozen=True, kw_only=True):
    pass


class MarketSuspended(_Event, frozen=True, kw_only=True):
    code: str = ""
    reason: str


class MarketResumed(_Event, frozen=True, kw_only=True):
    """Until `until_us` there may be a `phase`: cancel_only takes no orders, post_only none that would trade."""

    phase: str = ""
    until_us: int | None = None


class MarketClosed(_Event, frozen=True, kw_only=True):
    """Matching has stopped; `reason` (time, resolution or void) says what follows the cancels."""

    evidence: str = ""
    payouts: tuple[int, ...] | None = None
    reason: str
    settlement: str | None = None


class MarketResolved(_Event, frozen=True, kw_only=True):
    evidence: str
    fees: int
    payouts: tuple[int, ...]
    sets: int
    settlement: str


class MarketVoided(_Event, frozen=True, kw_only=True):
    evidence: str
    fees: int
    sets: int
    settlement: str


class ResolutionProposed(_Event, frozen=True, kw_only=True):
    """Without `payouts` it is a void. `until_us` is the end of the dispute window, known once nobody has to agree."""

    approvals: int
    by: str
    evidence: str
    payouts: tuple[int, ...] | None = None
    resolution: str
    until_us: int | None = None
    window_us: int


class ResolutionApproved(_Event, frozen=True, kw_only=True):
    """`until_us` as of ResolutionProposed; None while others have to agree, or where the end follows at once."""

    by: str
    resolution: str
    until_us: int | None = None


class ResolutionDisputed(_Event, frozen=True, kw_only=True):
    """A holder objects; what had been approved is not any more."""

    account: str
    reason: str
    resolution: str


class ResolutionWithdrawn(_Event, frozen=True, kw_only=True):
    by: str
    reason: str
    resolution: str
    status: str


class ReversalRequested(_Event, frozen=True, kw_only=True):
    """One more person wants the market's end undone; `approvals` further ones have to."""

    approvals: int
    by: str
    evidence: str


class ResolutionReversed(_Event, frozen=True, kw_only=True):
    """The settlement `reverses` is undone by `settlement`; shares and collateral are what they were before it."""

    by: str
    evidence: str
    reverses: str
    sets: int
    settlement: str


class OrderPlaced(_Event, frozen=True, kw_only=True):
    """`covered` units are backed by shares held, the rest by the reserved cash.

    Of an order with a `max_cost`, `quantity` is what that much money can buy from the book as it is.
    """

    account: str
    by: str = ""
    cash: int
    client_order_id: str | None = None
    covered: int = 0
    expires_us: int | None = None
    max_cost: int | None = None
    on_suspend: str = "keep"
    order: str
    outcome: int
    post_only: bool = False
    price: int
    quantity: int
    reduce_only: bool = False
    reserved: int
    side: str
    stp: str = "cancel_taker"
    tif: str
    type: str


class OrderRejected(_Event, frozen=True, kw_only=True):
    """`quantity` is what was asked for: the most it might be, where there is a `max_cost`."""

    account: str
    by: str = ""
    client_order_id: str | None = None
    expires_us: int | None = None
    max_cost: int | None = None
    on_suspend: str = "keep"
    order: str
    outcome: int
    post_only: bool = False
    price: int
    quantity: int
    reason: str
    reduce_only: bool = False
    side: str
    stp: str = "cancel_taker"
    tif: str
    type: str


class Leg(_Event, frozen=True, kw_only=True):
    """One order's part of a match, in its owner's terms; `delivered` units came from shares held."""

    account: str
    cash: int
    delivered: int = 0
    fee: int = 0
    netted: int = 0
    order: str
    outcome: int
    price: int
    quantity: int
    reserved: int
    role: str
    side: str


class OrderMatched(_Event, frozen=True, kw_only=True):
    """Outcome, price and taker's side in the book's terms (outcome 0 in a binary market); makers' legs first.

    Two legs are a direct trade. More are an implied one: an order of every outcome on the same side, whose
    prices sum to $1; a set is minted of buys and redeemed of sells. Its legs have trade ids of their own.
    """

    legs: tuple[Leg, ...]
    outcome: int
    price: int
    quantity: int
    taker_side: str
    trade: str


class OrderCancelled(_Event, frozen=True, kw_only=True):
    """`quantity` was left; `released` units of earmarked shares became free."""

    account: str
    cash: int
    netted: int = 0
    order: str
    quantity: int
    reason: str
    released: int = 0


class OrderExpired(_Event, frozen=True, kw_only=True):
    """The time of a GTD order is over; fields as of OrderCancelled."""

    account: str
    cash: int
    netted: int = 0
    order: str
    quantity: int
    released: int = 0


class OrderAmended(_Event, frozen=True, kw_only=True):
    """`quantity` is the new total, filled part included; `covered` what shares back of it now.

    Where `requeued`, the order has gone to the end of the queue at its `price`, and may match from there.
    """

    account: str
    cash: int
    covered: int = 0
    netted: int = 0
    order: str
    price: int
    quantity: int
    requeued: bool = False
    reserved: int


class CancelAllFence(_Event, frozen=True, kw_only=True):
    """The account's orders with an id below `fence` are refused from now on, of one outcome, side or placer."""

    account: str
    by: str | None = None
    fence: str
    outcome: int | None = None
    side: str | None = None


class CommandRefused(_Event, frozen=True, kw_only=True):
    account: str | None = None
    command: str
    order: str | None = None
    reason: str


class PositionOpened(_Event, frozen=True, kw_only=True):
    account: str


Event = (
    MarketCreated | MarketOpened | MarketSuspended | MarketResumed | MarketClosed | MarketResolved | MarketVoided
    | ResolutionProposed | ResolutionApproved | ResolutionDisputed | ResolutionWithdrawn | ReversalRequested
    | ResolutionReversed | OrderPlaced | OrderRejected | OrderMatched | OrderCancelled | OrderExpired | OrderAmended
    | CancelAllFence | CommandRefused | PositionOpened
)  # fmt: skip
