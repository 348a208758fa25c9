"""The one door for writing markets: create, suspend, resume; resolutions.py is the one for how they end.

Each call checks its input, sends one command through the gateway and answers when the engine has committed it. API,
pages, admin and demo all come through here. Nothing here touches orders, cash or positions: those follow from events.
"""

import time
import uuid
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.text import slugify

from markets.models import SLUG_MAX, Market
from markets.new_market import NewMarket, checked_line, checked_market
from markets.selectors import STATUSES, Listing, find, market_uuid
from trading.engine.commands import Command, CreateMarket, ResumeMarket, SuspendMarket
from trading.errors import ExchangeError, InvalidRequest, NotFound, OutcomeUnknown
from trading.eventlog.codec import to_us
from trading.gateway import gateway_sync
from trading.ids import new_id
from trading.read_cache import MARKETS_TOPIC, tell_changed

REASON_MAX = 500
OPERATOR = "operator"
SUSPENSION_CODES = (OPERATOR, "news", "review", "technical", "legal")
PHASES = ("cancel_only", "post_only")
PHASE_MAX_S = 3600
# How long an answer about a new market waits for the read side.
PATIENCE_S = 2.0


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks, for the event log's metadata."""

    user_id: int | None
    request_id: str | None = None

    @property
    def name(self) -> str:
        return "system" if self.user_id is None else f"user:{self.user_id}"


@dataclass(frozen=True, slots=True)
class Change:
    """What the engine committed, and from where on reads show it.

    `status` is the market's after it; None where the answer was lost on the way and only its having happened is known.
    """

    market_id: str
    status: str | None
    as_of: str
    settlement_id: str | None = None


def create_market(new: NewMarket, *, actor: Actor) -> tuple[Market, Change]:
    """A new market, open at once unless `opens_at` says later.

    Raises InvalidRequest for what breaks a rule. The text is written first and taken back if the engine
    refuses; if its answer never comes (OutcomeUnknown) the text stays, and is shown once the engine's word is there.
    """
    new = checked_market(new, now=timezone.now())
    market = _write_listing(new, actor)
    try:
        change = confirm_market(market, new, actor=actor)
    except OutcomeUnknown:
        raise
    except ExchangeError:
        market.delete()
        raise
    return market, change


def confirm_market(market: Market, new: NewMarket, *, actor: Actor) -> Change:
    """Have the engine begin the stream of a market whose text is written."""
    command = CreateMarket(
        market_id=str(market.market_id),
        question=new.question,
        outcomes=new.outcomes,
        category=new.category,
        tick_pips=new.tick_pips,
        taker_fee_e4=new.taker_fee_e4,
        maker_fee_e4=new.maker_fee_e4,
        opens_us=None if new.opens_at is None else to_us(new.opens_at),
        closes_us=to_us(new.closes_at),
    )
    return submit(command, actor)


def shown(market: Market, new: NewMarket, change: Change) -> Listing:
    """A market just created, as reads show it; should they be late, as it was committed."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            found = find(str(market.market_id))
            # Who has been told of it finds it in the lists.
            tell_changed([MARKETS_TOPIC])
            return found
        except NotFound:
            time.sleep(0.02)
    return Listing(
        market_id=str(market.market_id),
        slug=market.slug,
        question=market.question,
        description=market.description,
        resolution_criteria=market.resolution_criteria,
        category=market.category,
        outcomes=market.outcomes,
        status=change.status or "open",
        tick_pips=new.tick_pips,
        taker_fee_e4=new.taker_fee_e4,
        maker_fee_e4=new.maker_fee_e4,
        created_at=market.created_at,
        opens_at=new.opens_at,
        closes_at=new.closes_at,
        resolved_at=None,
        resolution=None,
        volume_pips=0,
        trade_count=0,
        trader_count=0,
        open_interest_sets=0,
        last_prices=[None] * len(market.outcomes),
        seq=1,
        updated_at=market.created_at,
    )


def suspend(market_id: str, *, reason: str, code: str = OPERATOR, actor: Actor) -> Change:
    """Stop matching for a while. Refused with `market_not_open` unless the market is open.

    `code` is one of SUSPENSION_CODES, `reason` a line for everybody to read.
    """
    if code not in SUSPENSION_CODES:
        raise InvalidRequest(errors={"code": [f"Must be one of {', '.join(SUSPENSION_CODES)}."]})
    reason = checked_line(reason, field="reason", most=REASON_MAX)
    return submit(SuspendMarket(market_id=market_id, reason=reason, code=code), actor)


def resume(market_id: str, *, phase: str = "", phase_s: int = 0, actor: Actor) -> Change:
    """Let a suspended market trade again. Refused with `market_not_open` unless it is suspended.

    For `phase_s` seconds (1..PHASE_MAX_S) it may first take cancels only (`cancel_only`), or besides them orders that
    do not trade (`post_only`), so that its makers can look at their prices.
    """
    if phase and phase not in PHASES:
        raise InvalidRequest(errors={"phase": [f"Must be one of {', '.join(PHASES)}."]})
    if not (1 <= phase_s <= PHASE_MAX_S if phase else phase_s == 0):
        raise InvalidRequest(
            errors={"phase_seconds": [f"Must be 1 to {PHASE_MAX_S}, and is given with a phase alone."]}
        )
    return submit(ResumeMarket(market_id=market_id, phase=phase, phase_us=phase_s * 1_000_000), actor)


def _write_listing(new: NewMarket, actor: Actor) -> Market:
    """The row with the first free slug; whoever loses a race for one takes a slug that nobody else can want."""
    market_id = uuid.UUID(new_id())
    plain = slug_of(new.question)
    unique = f"{plain[: SLUG_MAX - 9]}-{market_id.hex[-8:]}"
    for slug in (plain, unique) if plain else (unique.lstrip("-"),):
        try:
            with transaction.atomic():
                return Market.objects.create(
                    market_id=market_id,
                    slug=slug,
                    question=new.question,
                    description=new.description,
                    resolution_criteria=new.resolution_criteria,
                    category=new.category,
                    outcomes=list(new.outcomes),
                    created_by_id=actor.user_id,
                )
        except IntegrityError:
            continue
    raise AssertionError("a slug made from a fresh id is taken")


def slug_of(question: str) -> str:
    """The question as a path segment, cut at a word; empty if it has no ASCII letter or digit, or reads as an id."""
    slug = slugify(question)
    if market_uuid(slug) is not None:
        return ""
    if len(slug) <= SLUG_MAX:
        return slug
    return slug[: SLUG_MAX + 1].rpartition("-")[0] or slug[:SLUG_MAX]


def submit(command: Command, actor: Actor) -> Change:
    """Send one command about a market and wait for the engine's commit. Raises ExchangeError."""
    outcome = gateway_sync().submit(command, actor=actor.name, request_id=actor.request_id)
    return Change(
        market_id=command.market_id,
        status=outcome.payload if outcome.payload in STATUSES else None,
        as_of=f"{outcome.slot}-{outcome.offset}",
    )
