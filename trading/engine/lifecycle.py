"""The life of a market from its creation to its end, and the table of which step may be taken when.

    draft ─► open ⇄ suspended ─► closed ─► (proposed ⇄ disputed) ─► resolved | voided ─► reversed ─► …

The deciders here answer the events of a step, or a refusal; resolution.py has those of the way by proposals.
"""

from collections.abc import Iterator
from itertools import islice

from trading.engine import commands as cmd
from trading.engine import events as ev
from trading.engine.market import Market
from trading.engine.matching import cancelled
from trading.engine.rejection import RejectReason

SWEEP_SIZE = 500
ENDED = ("resolved", "voided")
UNDECIDED = ("draft", "open", "suspended", "closed", "reversed")
UNDER_REVIEW = ("proposed", "disputed")

ALLOWED_FROM: dict[str, tuple[str, ...]] = {
    "open": ("draft",),
    "suspend": ("open",),
    "resume": ("suspended",),
    "close": ("draft", "open", "suspended", *UNDER_REVIEW),
    "resolve": UNDECIDED,
    "void": UNDECIDED,
    "propose": UNDECIDED + UNDER_REVIEW,
    "approve": UNDER_REVIEW,
    "dispute": UNDER_REVIEW,
    "withdraw": UNDER_REVIEW,
    "settle": ("proposed",),
    "reverse": ENDED,
}
"""Each step, and the statuses of a market in which it may be taken. Whoever decides looks at more than that."""

LEADS_TO: dict[str, tuple[str, ...]] = {
    "open": ("open",),
    "suspend": ("suspended",),
    "resume": ("open",),
    "close": ("closed", "proposed", "disputed"),
    "resolve": ("closed", "resolved"),
    "void": ("closed", "voided"),
    "propose": ("proposed", "closed", "resolved", "voided"),
    "approve": ("proposed", "disputed", "closed", "resolved", "voided"),
    "dispute": ("disputed",),
    "withdraw": ("draft", "suspended", "closed", "reversed"),
    "settle": ("closed", "resolved", "voided"),
    "reverse": ("resolved", "voided", "reversed"),
}
"""The statuses a step may leave a market in: `closed` is the way to an end while orders are being cancelled."""


def may(market: Market, step: str) -> bool:
    """Whether the market's status allows a step; one that is on its way to an end can only go on."""
    return market.status in ALLOWED_FROM[step] and not (is_ending(market) and market.status not in ENDED)


def is_ending(market: Market) -> bool:
    """Resolved or voided, or on the way there: it cannot be decided twice."""
    return market.closing is not None and market.closing.reason != "time"


def not_now(step: str, reason: RejectReason = RejectReason.MARKET_NOT_OPEN) -> ev.CommandRefused:
    """The refusal of a step that the market's status does not allow."""
    return ev.CommandRefused(command=step, reason=reason.value)


def create(market: Market, command: cmd.CreateMarket, budget_pips: int, now_us: int) -> Iterator[ev.Event]:
    if market.seq:
        yield not_now("create", RejectReason.NOT_SUPPORTED)
        return
    yield ev.MarketCreated(
        category=command.category, closes_us=command.closes_us, created_us=now_us, maker_fee_e4=command.maker_fee_e4,
        market=command.market_id, opens_us=command.opens_us, outcomes=command.outcomes, question=command.question,
        taker_fee_e4=command.taker_fee_e4, tick=command.tick_pips,
    )  # fmt: skip
    if command.opens_us is None or command.opens_us <= now_us:
        yield ev.MarketOpened()


def open_market(market: Market, command: cmd.OpenMarket, budget_pips: int, now_us: int) -> Iterator[ev.Event]:
    if not may(market, "open"):
        yield not_now("open")
        return
    yield ev.MarketOpened()


def suspend(market: Market, command: cmd.SuspendMarket, budget_pips: int, now_us: int) -> Iterator[ev.Event]:
    if not may(market, "suspend"):
        yield not_now("suspend")
        return
    yield ev.MarketSuspended(code=command.code, reason=command.reason)
    yield from sweep(market)


def resume(market: Market, command: cmd.ResumeMarket, budget_pips: int, now_us: int) -> Iterator[ev.Event]:
    if not may(market, "resume"):
        yield not_now("resume")
        return
    # Those that a suspension ends are as a rule gone by now.
    for order in list(market.cancelled_when_suspended.values()):
        yield cancelled(market, order, "market_suspended")
    until_us = now_us + command.phase_us if command.phase else None
    yield ev.MarketResumed(phase=command.phase, until_us=until_us)


def close(market: Market, command: cmd.CloseMarket, budget_pips: int, now_us: int) -> Iterator[ev.Event]:
    if not may(market, "close") or market.closing is not None:
        yield not_now("close")
        return
    yield ev.MarketClosed(reason="time")
    yield from sweep(market)


def resolve(market: Market, command: cmd.ResolveMarket, budget_pips: int, now_us: int) -> Iterator[ev.Event]:
    if not may(market, "resolve"):
        yield not_now("resolve")
        return
    yield from end(
        market, payouts=command.payouts_pips, settlement_id=command.settlement_id, evidence=command.evidence
    )


def void(market: Market, command: cmd.VoidMarket, budget_pips: int, now_us: int) -> Iterator[ev.Event]:
    if not may(market, "void"):
        yield not_now("void")
        return
    yield from end(market, payouts=None, settlement_id=command.settlement_id, evidence=command.evidence)


def end(
    market: Market, *, payouts: tuple[int, ...] | None, settlement_id: str, evidence: str
) -> Iterator[ev.Event]:
    """Close for good and cancel the book; once that is empty the market is resolved, or voided without payouts."""
    reason = "void" if payouts is None else "resolution"
    yield ev.MarketClosed(evidence=evidence, payouts=payouts, reason=reason, settlement=settlement_id)
    yield from sweep(market)


# --- What goes on by itself -----------------------------------------------------------------------


def needs_sweep(market: Market) -> bool:
    """Whether a closed or halted market still has orders to cancel, or a closed one an end to record."""
    if market.status in ENDED:
        return False
    if market.closing is not None:
        return bool(market.orders) or is_ending(market)
    return market.status not in ("draft", "open") and bool(market.cancelled_when_suspended)


def sweep_orders(
    market: Market, command: cmd.SweepOrders, budget_pips: int, now_us: int
) -> Iterator[ev.Event]:
    if needs_sweep(market):
        yield from sweep(market)


def sweep(market: Market) -> Iterator[ev.Event]:
    """Cancels at most SWEEP_SIZE orders; in a closed market the last of them is followed by its end."""
    closing = market.closing
    if closing is None:
        for order in list(islice(market.cancelled_when_suspended.values(), SWEEP_SIZE)):
            yield cancelled(market, order, "market_suspended")
        return
    for order in list(islice(market.orders.values(), SWEEP_SIZE)):
        yield cancelled(market, order, "market_closed")
    if market.orders or closing.settlement is None:
        return
    if closing.payouts is not None:
        yield ev.MarketResolved(
            evidence=closing.evidence, fees=market.fees_pips, payouts=closing.payouts, sets=market.sets,
            settlement=closing.settlement,
        )  # fmt: skip
    else:
        yield ev.MarketVoided(
            evidence=closing.evidence, fees=market.fees_pips, sets=market.sets, settlement=closing.settlement
        )
