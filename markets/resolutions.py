"""The one door for how a market ends: proposed, approved, disputed, withdrawn, settled, undone.

    propose ─► approve (somebody else, RESOLUTION_APPROVALS times) ─► dispute window ─► settled ─► reverse
                   └── dispute (a holder) ─► approve (upheld) or a new proposal ──┘

Persons are checked three times: here, by a constraint of the table resolution_signature, and by the engine, whose word
is in the log. With no approvals and no window a proposal settles at once, which is what `resolve` and `void` are for.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from django.conf import settings
from django.db import IntegrityError, transaction

from markets.models import TEXT_MAX, Signature
from markets.new_market import checked_text
from markets.selectors import Listing
from markets.services import Actor, Change, submit
from markets.settlements import note_accepted
from trading.engine.commands import (
    ApproveResolution,
    Command,
    DisputeResolution,
    ProposeResolution,
    ReverseResolution,
    WithdrawResolution,
)
from trading.engine.rejection import RejectReason
from trading.errors import ArchivedEvents, InvalidRequest, NotFound, OutcomeUnknown, PermissionDenied, Refused
from trading.ids import is_id, new_id
from trading.models import Resolution, Settlement
from trading.money import SHARE_PIPS, format_pips
from trading.settlement.dues import can_be_undone, has_its_cause

Act, Role = Signature.Act, Signature.Role
ENDING = ("closed", "resolved", "voided")
"""A market's status once it is on the way to be settled."""

OBJECTION_MAX = 1000

SAYS_WHO_MAY = {
    RejectReason.SECOND_PERSON_NEEDED: "This takes somebody else than who has signed it already.",
    RejectReason.NOT_A_HOLDER: "Only who holds shares of the market may dispute how it ends.",
}


def resolve(
    market: Listing,
    *,
    outcome: str | None = None,
    payouts: Mapping[str, int] | None = None,
    evidence: str,
    actor: Actor,
) -> Change:
    """Settle the market at once, where the exchange asks for no approval and no window (else Refused).

    Arguments and errors as `propose`.
    """
    _require_direct_way()
    return propose(market, outcome=outcome, payouts=payouts, evidence=evidence, actor=actor)


def void(market: Listing, *, evidence: str, actor: Actor) -> Change:
    """Unwind the market at once: everything that was paid in is given back. Errors as `resolve`."""
    _require_direct_way()
    return propose(market, voids=True, evidence=evidence, actor=actor)


def propose(
    market: Listing,
    *,
    outcome: str | None = None,
    payouts: Mapping[str, int] | None = None,
    voids: bool = False,
    evidence: str,
    actor: Actor,
    resolution_id: str | None = None,
    on_behalf_of: int | None = None,
) -> Change:
    """Halt the market and say how it should end: $1 a share of `outcome`, by `payouts` (pips by name), or a void.

    Exactly one of the three is given; outcomes that `payouts` leaves out pay nothing. Takes the place of an earlier
    proposal. Raises InvalidRequest for unknown names and sums other than $1; Refused with `market_not_open` if the
    market has been decided before. The change's settlement_id is the resolution's id: a new one, or `resolution_id`
    of somebody who may have to send it again, which is Refused with `not_supported` if it was carried out. A proposal
    that a program makes counts as that of the user whom `on_behalf_of` names.
    """
    if voids and (outcome is not None or payouts is not None):
        raise InvalidRequest("A void pays no outcome.")
    vector = None if voids else payout_vector(market.outcomes, outcome=outcome, payouts=payouts)
    resolution_id = resolution_id or new_id()
    command = ProposeResolution(
        market_id=market.market_id,
        resolution_id=resolution_id,
        payouts_pips=vector,
        evidence=_evidence(evidence),
        by=actor.name,
        approvals=settings.RESOLUTION_APPROVALS,
        window_us=settings.DISPUTE_WINDOW_S * 1_000_000,
    )
    signer = actor.user_id if on_behalf_of is None else on_behalf_of
    change = _sign_and_submit(command, resolution_id, Act.RESOLVE, Role.PROPOSER, actor, signer=signer)
    return _with_settlement(change, resolution_id, kind="void" if voids else "resolve")


def approve(market_id: str, resolution_id: str, *, actor: Actor) -> Change:
    """Agree with a proposal, or uphold one that was disputed. PermissionDenied to whoever proposed or approved it.

    Refused with `market_not_open` where nothing is left to approve, NotFound if it is not the market's present one.
    """
    command = ApproveResolution(market_id=market_id, resolution_id=_known_id(resolution_id), by=actor.name)
    change = _sign_and_submit(command, resolution_id, Act.RESOLVE, Role.APPROVER, actor, signer=actor.user_id)
    signed = Resolution.objects.filter(resolution_id=resolution_id).first()
    kind = "void" if signed is not None and signed.payouts is None else "resolve"
    return _with_settlement(change, resolution_id, kind=kind)


def dispute(market_id: str, resolution_id: str, *, account_id: str, reason: str, actor: Actor) -> Change:
    """Object to a proposal as one who holds shares (else PermissionDenied): it waits until staff has looked again.

    Once an account; Refused with `market_not_open` when the window is over, `not_supported` the second time.
    """
    command = DisputeResolution(
        market_id=market_id,
        resolution_id=_known_id(resolution_id),
        account_id=account_id,
        reason=checked_text(reason, field="reason", most=OBJECTION_MAX, least=1),
    )
    return _submitted(command, actor)


def withdraw(market_id: str, resolution_id: str, *, reason: str, actor: Actor) -> Change:
    """Take a proposal back: the market is as before, but what traded stays suspended until it is resumed."""
    command = WithdrawResolution(
        market_id=market_id,
        resolution_id=_known_id(resolution_id),
        by=actor.name,
        reason=checked_text(reason, field="reason", most=TEXT_MAX, least=1),
    )
    return _submitted(command, actor)


def reverse(market_id: str, resolution_id: str, *, evidence: str, actor: Actor) -> Change:
    """Undo a settled end by compensating events, once as many persons have asked for it as had to agree with it.

    What was paid is taken back; what has been spent of it becomes debt. The market can then be decided anew. Refused
    with `market_not_open` unless this is the market's end and its settlement is done. The change's settlement_id is
    that of the undoing where this person's word was enough, and None while others have to ask for it too.
    """
    ended = Settlement.objects.filter(
        settlement_id=_known_id(resolution_id), market_id=market_id, kind__in=("resolve", "void")
    ).first()
    if ended is None:
        raise NotFound("The market has no settled resolution of this id.")
    if ended.status != "done":
        raise Refused("market_not_open", "Its settlement is not done yet.")
    if not has_its_cause(resolution_id):
        raise ArchivedEvents("The month in which the market ended is archived: restore it first.")
    if not can_be_undone(resolution_id):
        raise Refused("not_supported", "It was settled by a version that did not keep what undoing takes.")
    undoing, signed = new_id(), Resolution.objects.filter(resolution_id=resolution_id).first()
    # Whoever upheld it after a dispute has approved it too.
    approvals = 0 if signed is None else max(signed.approvals_needed, len(signed.approved_by))
    command = ReverseResolution(
        market_id=market_id,
        settlement_id=undoing,
        evidence=_evidence(evidence),
        by=actor.name,
        approvals=max(settings.RESOLUTION_APPROVALS, approvals),
        reverses=resolution_id,
    )
    change = _sign_and_submit(command, resolution_id, Act.REVERSE, Role.APPROVER, actor, signer=actor.user_id)
    return replace(change, settlement_id=undoing if change.status == "reversed" else None)


def payout_vector(
    names: Sequence[str], *, outcome: str | None, payouts: Mapping[str, int] | None
) -> tuple[int, ...]:
    """Pips a share of each outcome pays, in the outcomes' order."""
    if (outcome is None) == (payouts is None):
        raise InvalidRequest("Give either outcome or payouts.")
    if outcome is not None:
        if outcome not in names:
            raise InvalidRequest(errors={"outcome": ["The market has no such outcome."]})
        return tuple(SHARE_PIPS if name == outcome else 0 for name in names)
    assert payouts is not None
    if unknown := [name for name in payouts if name not in names]:
        raise InvalidRequest(errors={"payouts": [f"The market has no outcome {unknown[0]!r}."]})
    total = sum(payouts.values())
    if total != SHARE_PIPS or min(payouts.values()) < 0:
        raise InvalidRequest(errors={"payouts": [f"Must sum to 1.0000, not {format_pips(total)}."]})
    return tuple(payouts.get(name, 0) for name in names)


def _with_settlement(change: Change, resolution_id: str, *, kind: str) -> Change:
    """The change with its settlement's id, which is not unknown from the moment on at which the market is ending."""
    if change.status in ENDING:
        note_accepted(settlement_id=resolution_id, market_id=change.market_id, kind=kind)
    return replace(change, settlement_id=resolution_id)


def _require_direct_way() -> None:
    """Resolving at once is for exchanges that ask for no second person and no dispute window."""
    if settings.RESOLUTION_APPROVALS or settings.DISPUTE_WINDOW_S:
        raise Refused("not_supported", "Resolutions of this exchange need approval.")


def _evidence(text: str) -> str:
    return checked_text(text, field="evidence", most=TEXT_MAX, least=1)


def _known_id(resolution_id: str) -> str:
    if not is_id(resolution_id):
        raise NotFound("There is no such resolution.")
    return resolution_id


def _sign_and_submit(
    command: Command,
    resolution_id: str,
    act: Signature.Act,
    role: Signature.Role,
    actor: Actor,
    *,
    signer: int | None,
) -> Change:
    """Sign, then send. A signature whose command was refused is taken back; one without an answer stays."""
    unsign = _sign(resolution_id, act, role, signer)
    try:
        return _submitted(command, actor)
    except OutcomeUnknown:
        raise
    except Exception:
        unsign()
        raise


def _sign(
    resolution_id: str, act: Signature.Act, role: Signature.Role, signer: int | None
) -> Callable[[], object]:
    """Write the person's row; answers how to take it back. PermissionDenied to an approver who has proposed it.

    A row of the same role that is there already stays: a command without an answer may be sent again, and after a
    dispute an approver is asked again. The engine counts.
    """
    if signer is None:
        return lambda: None
    person = {"resolution_id": uuid.UUID(resolution_id), "act": act, "user_id": signer}
    try:
        with transaction.atomic():
            signature = Signature.objects.create(**person, role=role)
    except IntegrityError:
        known = Signature.objects.filter(**person).first()
        if known is None or known.role != role:
            raise PermissionDenied(SAYS_WHO_MAY[RejectReason.SECOND_PERSON_NEEDED]) from None
        return lambda: None
    return signature.delete


def _submitted(command: Command, actor: Actor) -> Change:
    """The change, with the engine's word about persons turned into PermissionDenied."""
    try:
        return submit(command, actor)
    except Refused as refusal:
        for reason, detail in SAYS_WHO_MAY.items():
            if refusal.code == reason:
                raise PermissionDenied(detail) from None
        if refusal.code == RejectReason.NOT_FOUND:
            raise NotFound("It is not the market's present resolution.") from None
        raise
