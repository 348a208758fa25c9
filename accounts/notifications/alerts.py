"""Price alerts: a user names a market, an outcome, a price and a direction, and is told once when a trade gets there.

They are judged where trades are read anyway: one statement a batch, over the markets that have traded in it, by the
highest and lowest price of an outcome. Of the few alerts that these reach each trade is looked at: the first one from
after the alert was set fires it, one that was only touched too.
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
_REACHED = """
SELECT a.id::text, a.account_id::text, a.market_id::text, a.outcome, a.direction, a.price_pips,
       (extract(epoch FROM a.created_at) * 1000000)::bigint
FROM unnest(%s::uuid[], %s::smallint[], %s::integer[], %s::integer[], %s::timestamptz[])
     AS p(market_id, outcome, low_pips, high_pips, at), accounts_pricealert a
WHERE a.market_id = p.market_id AND a.outcome = p.outcome AND a.fired_at IS NULL AND a.created_at < p.at
  AND CASE a.direction WHEN 'at_or_above' THEN p.high_pips >= a.price_pips ELSE p.low_pips <= a.price_pips END
ORDER BY a.id
"""
_FIRE = """
UPDATE accounts_pricealert a SET fired_at = p.at FROM unnest(%s::uuid[], %s::timestamptz[]) AS p(id, at)
WHERE a.id = p.id AND a.fired_at IS NULL RETURNING a.id::text
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


_Trades = dict[tuple[str, int], list[tuple[int, int]]]
"""(price in pips, when) of each trade, by market and outcome."""


def fire(connection: Any, creations: Creations, trades: Sequence[LoggedEvent]) -> list[Fired]:
    """Spend the alerts that these order_matched events have reached."""
    if not trades:
        return []
    creations.learn(connection, {event.stream_id for event in trades})
    traded = _by_outcome(trades, creations)
    rows = [
        (*key, min(price for price, _ in each), max(price for price, _ in each), timestamp_text(each[-1][1]))
        for key, each in sorted(traded.items())
    ]
    reached = connection.execute(_REACHED, columns(rows)).fetchall()
    fired = [found for row in reached if (found := _first_after(traded, *row)) is not None]
    if not fired:
        return []
    spent = columns([(each.alert_id, timestamp_text(each.at_us)) for each in fired])
    mine = {alert_id for (alert_id,) in connection.execute(_FIRE, spent).fetchall()}
    return [each for each in fired if each.alert_id in mine]


def _first_after(
    traded: _Trades, alert_id: str, account_id: str, market_id: str, outcome: int, direction: str,
    wanted_pips: int, created_us: int,
) -> Fired | None:  # fmt: skip
    """The alert as the first trade from after it was set fires it, if one does."""
    for price_pips, at_us in traded[market_id, outcome]:
        is_there = price_pips >= wanted_pips if direction == "at_or_above" else price_pips <= wanted_pips
        if is_there and at_us > created_us:
            return Fired(alert_id, account_id, market_id, outcome, direction, wanted_pips, price_pips, at_us)
    return None


def _by_outcome(trades: Sequence[LoggedEvent], creations: Creations) -> _Trades:
    """A binary market's one book gives both prices, which are complements."""
    traded: _Trades = {}
    for event in trades:
        data = event.data
        if len(data["legs"]) == 2:
            prices = {data["outcome"]: data["price"]}
            if creations[event.stream_id].is_binary:
                prices[1 - data["outcome"]] = SHARE_PIPS - data["price"]
        else:
            prices = {leg["outcome"]: leg["price"] for leg in data["legs"]}
        for outcome, price_pips in prices.items():
            traded.setdefault((event.stream_id, outcome), []).append((price_pips, event.recorded_us))
    return traded


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
