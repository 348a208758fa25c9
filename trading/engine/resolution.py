"""The long way to a market's end: proposed, approved by others, open to dispute, settled; and undone afterwards.

Nobody approves what he has proposed himself, and only who holds shares may dispute. Persons are the strings the
gateway gives ("user:7"); whether one of them is staff has been asked before a command comes here.
"""

from collections.abc import Iterator

from trading.engine import commands as cmd
from trading.engine import events as ev
from trading.engine.lifecycle import end, may, not_now, sweep
from trading.engine.market import Market, Proposal
from trading.engine.rejection import RejectReason

MAX_OBJECTIONS = 50  # to one proposal: more of them say nothing new


def propose(
    market: Market, command: cmd.ProposeResolution, budget_pips: int, now_us: int
) -> Iterator[ev.Event]:
    if not may(market, "propose"):
        yield not_now("propose")
        return
    proposal = market.proposal
    if proposal is not None and proposal.resolution_id == command.resolution_id:
        yield not_now("propose", RejectReason.NOT_SUPPORTED)
        return
    # Where holders have objected, somebody else has to look, whatever is proposed next and by whom.
    approvals = max(command.approvals, 1) if market.is_contested else command.approvals
    until_us = None if approvals else now_us + command.window_us
    yield ev.ResolutionProposed(
        approvals=approvals, by=command.by, evidence=command.evidence, payouts=command.payouts_pips,
        resolution=command.resolution_id, until_us=until_us, window_us=command.window_us,
    )  # fmt: skip
    if approvals == 0 and command.window_us == 0:
        yield from _end_as_proposed(market)
    else:
        yield from sweep(market)


def approve(
    market: Market, command: cmd.ApproveResolution, budget_pips: int, now_us: int
) -> Iterator[ev.Event]:
    reason = _refuse_approval(market, command)
    if reason is not None:
        yield not_now("approve", reason)
        return
    proposal, is_disputed = _proposal(market), market.status == "disputed"
    # What was disputed takes somebody else to uphold it, even where proposals need nobody.
    needed = max(proposal.approvals, 1) if is_disputed else proposal.approvals
    is_agreed = len(proposal.approved_by) + 1 >= needed
    # Everybody has had a window to object in; an upheld proposal has no second one.
    ends_at_once = is_agreed and (is_disputed or proposal.window_us == 0)
    until_us = now_us + proposal.window_us if is_agreed and not ends_at_once else None
    yield ev.ResolutionApproved(by=command.by, resolution=command.resolution_id, until_us=until_us)
    if ends_at_once:
        yield from _end_as_proposed(market)


def _refuse_approval(market: Market, command: cmd.ApproveResolution) -> RejectReason | None:
    if not may(market, "approve"):
        return RejectReason.MARKET_NOT_OPEN
    proposal = market.proposal
    if proposal is None or proposal.resolution_id != command.resolution_id:
        return RejectReason.NOT_FOUND
    if command.by == proposal.by or command.by in proposal.approved_by:
        return RejectReason.SECOND_PERSON_NEEDED
    # It has its approvals, and only waits for its window to end.
    return RejectReason.MARKET_NOT_OPEN if proposal.until_us is not None else None


def dispute(
    market: Market, command: cmd.DisputeResolution, budget_pips: int, now_us: int
) -> Iterator[ev.Event]:
    reason = _refuse_dispute(market, command, now_us)
    if reason is not None:
        yield not_now("dispute", reason)
        return
    yield ev.ResolutionDisputed(
        account=command.account_id, reason=command.reason, resolution=command.resolution_id
    )


def _refuse_dispute(market: Market, command: cmd.DisputeResolution, now_us: int) -> RejectReason | None:
    if not may(market, "dispute"):
        return RejectReason.MARKET_NOT_OPEN
    proposal = market.proposal
    if proposal is None or proposal.resolution_id != command.resolution_id:
        return RejectReason.NOT_FOUND
    if proposal.until_us is not None and proposal.until_us <= now_us:
        return RejectReason.MARKET_NOT_OPEN
    holding = market.holdings.get(command.account_id)
    if holding is None or not (any(holding.free) or any(holding.held)):
        return RejectReason.NOT_A_HOLDER
    if len(proposal.disputed_by) >= MAX_OBJECTIONS:
        return RejectReason.EXCEEDS_LIMITS
    return RejectReason.NOT_SUPPORTED if command.account_id in proposal.disputed_by else None


def withdraw(
    market: Market, command: cmd.WithdrawResolution, budget_pips: int, now_us: int
) -> Iterator[ev.Event]:
    if not may(market, "withdraw"):
        yield not_now("withdraw")
        return
    proposal = _proposal(market)
    if proposal.resolution_id != command.resolution_id:
        yield not_now("withdraw", RejectReason.NOT_FOUND)
        return
    # What traded before does not trade again by itself: whoever resumes it says how.
    before = proposal.status_before
    status = "suspended" if before == "open" else before
    yield ev.ResolutionWithdrawn(
        by=command.by, reason=command.reason, resolution=command.resolution_id, status=status
    )


def settle(
    market: Market, command: cmd.SettleResolution, budget_pips: int, now_us: int
) -> Iterator[ev.Event]:
    if not may(market, "settle"):
        yield not_now("settle")
        return
    proposal = _proposal(market)
    if proposal.resolution_id != command.resolution_id:
        yield not_now("settle", RejectReason.NOT_FOUND)
        return
    if proposal.until_us is None or proposal.until_us > now_us:
        yield not_now("settle")
        return
    yield from _end_as_proposed(market)


def reverse(
    market: Market, command: cmd.ReverseResolution, budget_pips: int, now_us: int
) -> Iterator[ev.Event]:
    closing = market.closing
    if not may(market, "reverse") or closing is None or closing.settlement is None:
        yield not_now("reverse")
        return
    if command.reverses not in (None, closing.settlement):
        yield not_now("reverse", RejectReason.NOT_FOUND)
        return
    asked = market.reversal
    if asked is not None and command.by in asked.by:
        yield not_now("reverse", RejectReason.SECOND_PERSON_NEEDED)
        return
    missing = command.approvals if asked is None else asked.approvals - len(asked.by)
    if missing > 0:
        yield ev.ReversalRequested(approvals=missing, by=command.by, evidence=command.evidence)
        return
    yield ev.ResolutionReversed(
        by=command.by, evidence=command.evidence, reverses=closing.settlement, settlement=command.settlement_id,
        sets=market.sets,
    )  # fmt: skip


def _proposal(market: Market) -> Proposal:
    """That of a market under review."""
    proposal = market.proposal
    assert proposal is not None, "a market under review has a proposal"
    return proposal


def _end_as_proposed(market: Market) -> Iterator[ev.Event]:
    proposal = _proposal(market)
    yield from end(
        market, payouts=proposal.payouts, settlement_id=proposal.resolution_id, evidence=proposal.evidence
    )
