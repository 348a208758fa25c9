"""A market is given a resolver; once it has closed a job asks that, and proposes what it answers, once.

A change of the settings is a new revision: what an older one was asked comes to nothing. The proposal's id is written
before it is sent, so a job that runs again sends the same one, which the engine refuses. It is "system" that proposes,
on behalf of whoever has given the settings: it takes somebody else's yes.
"""

import datetime as dt
import logging
import uuid
from collections.abc import Mapping
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet, TextField, Value
from django.db.models.functions import Cast, Concat
from django.utils import timezone

from markets import resolutions, selectors
from markets.models import MarketResolver, new_uuid
from markets.resolution_reads import UNDER_REVIEW
from markets.resolvers.plugin import LONGEST_RETRY_S, AskedMarket, Decision, NotYet
from markets.resolvers.registry import resolvers
from markets.selectors import Listing
from markets.services import Actor
from trading import jobs
from trading.as_of import wait_for_the_log
from trading.engine.rejection import RejectReason
from trading.errors import InvalidRequest, NotFound, OutcomeUnknown, Overloaded, ReadLag, Refused
from trading.ids import market_slot
from trading.jobs import GiveUp, enqueue
from trading.jobs.outbox import GIVE_UP_AFTER
from trading.models import Job, MarketState, Resolution
from trading.outside.alone import alone_at

log = logging.getLogger(__name__)

ASK = "markets.ask_resolver"
KEY = "resolver:"
"""And the revision: the key of the job that asks it."""

A_ROUND = 100
UNSURE_S = 10.0
"""By then a command without an answer has been carried out, or never will be."""

BUSY_S = 60
CATCH_UP_S = 2.0
"""For so long the read models are waited for; then the job comes back."""

KEPT_ANSWER, KEPT_REASON = 2_000, 1_000
UNSHOWN = "\N{REPLACEMENT CHARACTER}"
"""For control characters, which evidence may not hold, and for those that change how what follows is read."""

DECIDED_BEFORE = (RejectReason.NOT_SUPPORTED, RejectReason.MARKET_NOT_OPEN)


def configure(
    market: Listing, name: str, data: Mapping[str, Any], *, by: int | None = None
) -> MarketResolver:
    """Give a market a resolver, in place of the one it has; `by` is the user. One that has closed is asked at once.

    Raises InvalidRequest for settings that its form refuses, NotFound for an unknown name, Refused with
    `market_not_open` for a market that has ended.
    """
    if name not in resolvers():
        raise NotFound(f"There is no resolver {name}.")
    if market.status in ("resolved", "voided"):
        raise Refused("market_not_open", "The market has ended.")
    form = resolvers()[name].form(market.outcomes, data)
    if not form.is_valid():
        raise InvalidRequest(errors={field: list(map(str, errors)) for field, errors in form.errors.items()})
    row, _ = MarketResolver.objects.update_or_create(
        market_id=market.market_id,
        defaults={
            "name": name, "settings": form.cleaned_data, "revision": new_uuid(), "started_at": None, "kept": {},
            "asked_at": None, "answer": "", "proposal": None, "configured_by_id": by,
        },
    )  # fmt: skip
    return row


def remove(market_id: str) -> bool:
    """Take the resolver away; what it has proposed stays. Whether there was one."""
    return bool(MarketResolver.objects.filter(market_id=market_id).delete()[0])


@transaction.atomic
def start() -> int:
    """Have the resolvers of markets that have closed asked. Answers how many; each revision is started once."""
    closed = MarketState.objects.filter(market_id=OuterRef("market_id"), status="closed")
    waiting = MarketResolver.objects.filter(Exists(closed), started_at=None).order_by("changed_at")
    rows = list(waiting.select_for_update(skip_locked=True)[:A_ROUND])
    for row in rows:
        MarketResolver.objects.filter(pk=row.pk).update(started_at=timezone.now())
        enqueue(
            ASK,
            {"market": str(row.market_id), "revision": str(row.revision)},
            key=f"{KEY}{row.revision}",
            # From then on the superusers are asked instead.
            give_up_after=max(settings.RESOLUTION_ESCALATION, GIVE_UP_AFTER),
        )
    return len(rows)


def being_asked() -> QuerySet[MarketResolver]:
    """Of an outer query's market: its resolver while that is about to be asked, or asked until it has an answer."""
    job = Job.objects.filter(key=Concat(Value(KEY), Cast(OuterRef("revision"), TextField())))
    found = MarketResolver.objects.filter(market_id=OuterRef("market_id"))
    return found.filter(Q(started_at=None) | Exists(job))


def ask(payload: dict[str, Any]) -> None:
    """Ask a market's resolver, and propose what it answers."""
    row = MarketResolver.objects.filter(market_id=payload["market"], revision=payload["revision"]).first()
    market = None if row is None else _undecided(row)
    if row is None or market is None:
        return
    # The workers of this queue open and close markets too: resolvers hold one of their threads at most.
    with alone_at("resolvers", busy_s=BUSY_S):
        answer = _answer(row, market)
    if isinstance(answer, NotYet):
        _note(row, f"Not yet: {answer.reason}", kept=dict(answer.kept))
        raise jobs.NotYet(answer.reason, retry_in_s=min(max(answer.retry_in_s, 1.0), LONGEST_RETRY_S))
    _note(row, f"{answer.outcome}: {answer.because}", kept={})
    _propose(row, answer)


def decide(
    name: str,
    data: Mapping[str, Any],
    market: Listing,
    *,
    kept: Mapping[str, Any],
    now: dt.datetime | None = None,
) -> Decision | NotYet:
    """What a resolver answers; nothing is proposed. Raises what it raises, and GiveUp where it cannot be asked."""
    resolver = resolvers().get(name)
    if resolver is None:
        raise GiveUp(f"this exchange has no resolver {name}")
    form = resolver.form(market.outcomes, data)
    if not form.is_valid():
        raise GiveUp(f"its settings are not valid: {form.errors.as_json()}")
    asked = AskedMarket(market.market_id, market.question, market.outcomes, market.closes_at, kept)
    answer = resolver.decide(form.cleaned_data, asked, timezone.now() if now is None else now)
    if isinstance(answer, Decision) and answer.outcome not in market.outcomes:
        raise GiveUp(f"it decided for {answer.outcome!r}, which is no outcome of the market")
    return answer


def evidence_text(name: str, decision: Decision) -> str:
    """What a proposal by the resolver says, for everybody to read. What cannot be shown is replaced."""
    because = decision.because[:KEPT_REASON]
    text = f"The resolver {name} says {decision.outcome}. {because}\n\n{decision.evidence.text()}"
    return "".join(letter if letter.isprintable() or letter in "\n\t" else UNSHOWN for letter in text)


def _answer(row: MarketResolver, market: Listing) -> Decision | NotYet:
    try:
        return decide(row.name, row.settings, market, kept=row.kept)
    except Exception as error:
        # The job says what becomes of it; staff reads it on the market's page.
        _note(row, f"{type(error).__name__}: {error}", kept={})
        raise


def _undecided(row: MarketResolver) -> Listing | None:
    """The market as all that is committed has left it; None if it does not wait for a proposal any more."""
    try:
        wait_for_the_log(["markets"], [market_slot(str(row.market_id))], CATCH_UP_S)
    except ReadLag:
        raise jobs.NotYet("the read models are behind", retry_in_s=CATCH_UP_S) from None
    market = selectors.find(str(row.market_id))
    found = Resolution.objects.filter(market_id=row.market_id)
    if row.proposal is not None and found.filter(pk=row.proposal).exists():
        return None
    if market.status != "closed" or found.filter(status__in=UNDER_REVIEW).exists():
        _note(row, f"Not asked: the market is {market.status} or under review.", kept={})
        return None
    return market


def _propose(row: MarketResolver, decision: Decision) -> None:
    proposal = _proposal_id(row)
    # Asking takes seconds, in which somebody may have proposed something else; that has precedence.
    market = _undecided(row)
    if proposal is None or market is None:
        return
    evidence = evidence_text(row.name, decision)
    send = partial(
        resolutions.propose, market, outcome=decision.outcome, evidence=evidence, actor=Actor(None),
        on_behalf_of=row.configured_by_id,
    )  # fmt: skip
    try:
        send(resolution_id=str(proposal))
    except (OutcomeUnknown, Overloaded) as error:
        raise jobs.NotYet(f"the engine did not answer: {error}", retry_in_s=UNSURE_S) from None
    except Refused as refusal:
        if refusal.code not in DECIDED_BEFORE:
            raise
        log.info("the proposal of %s for market %s: %s", row.name, row.market_id, refusal.code)


def _proposal_id(row: MarketResolver) -> uuid.UUID | None:
    """The id of the revision's one proposal, made when it is first needed; None if the revision is gone."""
    mine = MarketResolver.objects.filter(pk=row.pk, revision=row.revision)
    mine.filter(proposal=None).update(proposal=new_uuid())
    return mine.values_list("proposal", flat=True).first()


def _note(row: MarketResolver, answer: str, *, kept: dict[str, Any]) -> None:
    text = answer.replace("\0", "")[:KEPT_ANSWER]
    mine = MarketResolver.objects.filter(pk=row.pk, revision=row.revision)
    mine.update(asked_at=timezone.now(), answer=text, kept=kept)
