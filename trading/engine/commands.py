"""What can be asked of a market. Imperative names; the gateway has checked their shape.

On the wire and in the log a command is an array: its tag, then its fields in this order. New fields go to the
end and have a default, so that what was recorded before can still be read.
"""

import msgspec


class PlaceOrder(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="place"):
    """Buy or sell `quantity_shares` of an outcome at `price_pips` or better.

    With `max_cost_pips` a market order buys what that much money buys, fees included, and `quantity_shares` is
    the most it may be. `by` is who placed it, as `CancelOrders.by` names him: a key or a session.
    """

    market_id: str
    account_id: str
    order_id: str
    outcome: int
    side: str  # buy | sell
    order_type: str  # limit | market
    price_pips: int
    quantity_shares: int
    time_in_force: str  # GTC | GTD | IOC | FOK
    self_trade_prevention: str = "cancel_taker"  # cancel_taker | cancel_maker | cancel_both
    client_order_id: str | None = None
    by: str = ""
    post_only: bool = False
    reduce_only: bool = False
    on_suspend: str = "keep"  # keep | cancel
    expires_us: int | None = None  # of a GTD order
    valid_until_us: int | None = None  # arriving later it is refused
    max_cost_pips: int | None = None


class CancelOrder(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="cancel"):
    """Withdraw an open order, named by its id or by its owner's client id."""

    market_id: str
    account_id: str
    order_id: str | None
    client_order_id: str | None


class AmendOrder(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="amend"):
    """Change an open order: its total quantity (or by how much less), its price. Only a smaller one keeps its place."""

    market_id: str
    account_id: str
    order_id: str | None
    client_order_id: str | None
    quantity_shares: int | None
    reduce_by_shares: int | None
    price_pips: int | None = None


FENCE_ONLY_US = 0


class CancelOrders(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="cancel_orders"):
    """Withdraw every open order of an account in the market, of one outcome, side or placer if given.

    With a `fence`, a UUIDv7, orders with an older id that arrive later are refused. `placed_until_us` spares
    orders that were placed later, but for those whose id is older than the fence: they were only long on their way.
    FENCE_ONLY_US spares all.
    """

    market_id: str
    account_id: str
    outcome: int | None
    side: str | None
    by: str | None = None
    reason: str = "by_owner"  # by_owner | heartbeat | disconnected
    fence: str | None = None
    placed_until_us: int | None = None


class CreateMarket(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="create_market"):
    """Begin a market's stream. Fees are in ten-thousandths (700 is 7 %), times in µs."""

    market_id: str
    question: str
    outcomes: tuple[str, ...]
    category: str
    tick_pips: int
    taker_fee_e4: int
    maker_fee_e4: int
    opens_us: int | None
    closes_us: int


class OpenMarket(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="open_market"):
    """Start trading in a draft market whose time has come."""

    market_id: str


class SuspendMarket(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="suspend_market"):
    """Stop matching for a while; open orders stay, but for those that asked to be cancelled then."""

    market_id: str
    reason: str
    code: str = ""  # one of SUSPENSION_CODES


class ResumeMarket(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="resume_market"):
    """Let a suspended market trade again: all at once, or after a phase of some µs in which no order trades."""

    market_id: str
    phase: str = ""  # cancel_only | post_only
    phase_us: int = 0


class CloseMarket(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="close_market"):
    """Stop trading for good because the closing time has come; the book is cancelled."""

    market_id: str


class ResolveMarket(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="resolve_market"):
    """Close, cancel the book and fix what a share of each outcome pays, in pips that sum to $1."""

    market_id: str
    payouts_pips: tuple[int, ...]
    settlement_id: str
    evidence: str


class VoidMarket(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="void_market"):
    """Close, cancel the book and have everything that was paid in returned."""

    market_id: str
    settlement_id: str
    evidence: str


class ProposeResolution(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="propose_resolution"):
    """Halt the market and say how it should end: what a share pays, or None to void it.

    It settles once `approvals` persons other than `by` agree and `window_us` have passed since without a dispute.
    It takes the place of an earlier proposal. The resolution's id becomes its settlement's.
    """

    market_id: str
    resolution_id: str
    payouts_pips: tuple[int, ...] | None
    evidence: str
    by: str
    approvals: int
    window_us: int


class ApproveResolution(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="approve_resolution"):
    """Agree with a proposal, as somebody who did not make it; after a dispute, uphold it."""

    market_id: str
    resolution_id: str
    by: str


class DisputeResolution(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="dispute_resolution"):
    """Object to a proposal, as an account that holds shares of the market."""

    market_id: str
    resolution_id: str
    account_id: str
    reason: str


class WithdrawResolution(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="withdraw_resolution"):
    """Take a proposal back: the market is as it was before, though a trading one stays suspended."""

    market_id: str
    resolution_id: str
    by: str
    reason: str


class SettleResolution(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="settle_resolution"):
    """End the market as proposed, its dispute window being over; the clock sends it."""

    market_id: str
    resolution_id: str


class ReverseResolution(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="reverse_resolution"):
    """Undo a market's end, so that it can be decided anew; takes effect once `approvals` further persons ask too."""

    market_id: str
    settlement_id: str  # of the undoing
    evidence: str
    by: str
    approvals: int
    reverses: str | None = None  # the settlement that is to be undone; not asked of whoever does not say


class SweepOrders(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="sweep_orders"):
    """Cancel the next orders that a close or a suspension ends; the shard sends it until none is left."""

    market_id: str


class ExpireOrders(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="expire_orders"):
    """End the next orders whose time is over; the shard's clock sends it."""

    market_id: str


Command = (
    PlaceOrder | CancelOrder | AmendOrder | CancelOrders | CreateMarket | OpenMarket | SuspendMarket | ResumeMarket
    | CloseMarket | ResolveMarket | VoidMarket | ProposeResolution | ApproveResolution | DisputeResolution
    | WithdrawResolution | SettleResolution | ReverseResolution | SweepOrders | ExpireOrders
)  # fmt: skip
