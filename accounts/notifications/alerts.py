"""Price alerts: a user names a market, an outcome, a price and a direction, and is told once when a trade gets there.

They are judged where trades are read anyway: one statement a batch, over the markets that have traded in it. A batch
counts with its highest and lowest price of an outcome, so a price that is only touched fires too. Trades from before
an alert was set do not.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts.models import PriceAlert, User
from trading.array_literals import columns
from trading.errors import InvalidRequest, NotFound, Refused
from trading.eventlog.codec import LoggedEvent, timestamp_text
from trading.market_terms import market_terms
from trading.money import SHARE_PIPS
from trading.projections.creations import Creations

MAX_ARMED = 50
SPENT_KEPT = dt.timedelta(days=30)

# The alerts first, by their index: nearly always there are none.
_FIRE = """
UPDATE accounts_pricealert a SET fired_at = p.at
FROM unnest(%s::uuid[], %s::smallint[], %s::integer[], %s::integer[], %s::timestamptz[])
     AS p(market_id, outcome, low_pips, high_pips, at)
WHERE a.market_id = p.market_id AND a.outcome = p.outcome AND a.fired_at IS NULL AND a.created_at < p.at
  AND CASE a.direction WHEN 'at_or_above' THEN p.high_pips >= a.price_pips ELSE p.low_pips <= a.price_pips END
RETURNING a.id::text, a.account_id::text, a.market_id::text, a.outcome, a.direction, a.price_pips,
          CASE a.direction WHEN 'at_or_above' THEN p.high_pips ELSE p.low_pips END,
          (extract(epoch FROM p.at) * 1000000)::bigint
"""


class Fired(NamedTuple):
    """An alert that has just been spent; `price_pips` is the traded price that did it."""

    alert_id: str
    account_id: str
    market_id: str
    outcome: int
    direction: str
    wanted_pips: int
    price_pips: int
    at_us: int


class _Range:
    """The lowest and highest price of an outcome in a batch, and when it traded last."""

    __slots__ = ("at_us", "high_pips", "low_pips")

    def __init__(self) -> None:
        self.low_pips, self.high_pips, self.at_us = SHARE_PIPS, 0, 0

    def add(self, price_pips: int, at_us: int) -> None:
        self.low_pips, self.high_pips = min(self.low_pips, price_pips), max(self.high_pips, price_pips)
        self.at_us = at_us


def fire(connection: Any, creations: Creations, trades: Sequence[LoggedEvent]) -> list[Fired]:
    """Spend the alerts that these order_matched events have reached."""
    if not trades:
        return []
    creations.learn(connection, {event.stream_id for event in trades})
    rows = [
        (market_id, outcome, each.low_pips, each.high_pips, timestamp_text(each.at_us))
        for (market_id, outcome), each in sorted(_ranges(trades, creations).items())
    ]
    return [Fired(*row) for row in connection.execute(_FIRE, columns(rows)).fetchall()]


def _ranges(trades: Sequence[LoggedEvent], creations: Creations) -> dict[tuple[str, int], _Range]:
    """By market and outcome. A binary market's one book gives both prices, which are complements."""
    ranges: dict[tuple[str, int], _Range] = {}
    for event in trades:
        data = event.data
        if len(data["legs"]) == 2:
            prices = {data["outcome"]: data["price"]}
            if creations[event.stream_id].is_binary:
                prices[1 - data["outcome"]] = SHARE_PIPS - data["price"]
        else:
            prices = {leg["outcome"]: leg["price"] for leg in data["legs"]}
        for outcome, price_pips in prices.items():
            key = (event.stream_id, outcome)
            ranges.setdefault(key, _Range()).add(price_pips, event.recorded_us)
    return ranges


@transaction.atomic
def set_alert(*, user: User, market: str, outcome: str, price_pips: int, direction: str) -> PriceAlert:
    """A new alert; `market` is an id or slug. NotFound, InvalidRequest for an outcome or price that there is not.

    Refused with `exceeds_limits` for one more than MAX_ARMED, with `market_not_open` where nothing trades any more.
    """
    terms = market_terms(market)
    if outcome not in terms.outcomes:
        raise InvalidRequest(errors={"outcome": ["There is no such outcome in this market."]})
    if not 0 < price_pips < SHARE_PIPS:
        raise InvalidRequest(errors={"price": ["A price lies between 0.0001 and 0.9999."]})
    if _is_over(terms.market_id):
        raise Refused("market_not_open", "This market has closed, so its prices do not change any more.")
    # The user's row is the lock: two alerts at once must not both be the fiftieth.
    User.objects.select_for_update().get(pk=user.pk)
    if PriceAlert.objects.filter(account_id=user.account_id, fired_at=None).count() >= MAX_ARMED:
        raise Refused("exceeds_limits", f"A user has at most {MAX_ARMED} price alerts; delete one first.")
    return PriceAlert.objects.create(
        account_id=user.account_id,
        market_id=terms.market_id,
        outcome=terms.outcomes.index(outcome),
        price_pips=price_pips,
        direction=direction,
        created_at=timezone.now(),
    )


def delete_alert(*, account_id: str, alert_id: str) -> None:
    """NotFound for another's."""
    deleted, _ = PriceAlert.objects.filter(id=alert_id, account_id=account_id).delete()
    if not deleted:
        raise NotFound("There is no such price alert.")


def alerts_of(account_id: str) -> QuerySet[PriceAlert]:
    """An account's alerts, armed and lately spent, newest first."""
    return PriceAlert.objects.filter(account_id=account_id).order_by("-id")


def outcome_name(alert: PriceAlert) -> str:
    """What the alert's outcome is called."""
    return market_terms(str(alert.market_id)).outcomes[alert.outcome]


def forget_old() -> int:
    """Delete alerts that were spent long ago, and those of markets that have ended. Answers how many."""
    spent, _ = PriceAlert.objects.filter(fired_at__lt=timezone.now() - SPENT_KEPT).delete()
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM accounts_pricealert a USING market m WHERE m.market_id = a.market_id "
            "AND a.fired_at IS NULL AND m.status IN ('resolved', 'voided')"
        )
        return spent + cursor.rowcount


def _is_over(market_id: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT status IN ('closed', 'resolved', 'voided') FROM market WHERE market_id = %s", [market_id]
        )
        row = cursor.fetchone()
    return row is None or row[0]
