"""Notifications as a projection of the log.

    an order is filled, or expires            order_matched/1, order_expired/1    order_filled, order_expired
    its market closed or was suspended        order_cancelled/1                   order_cancelled
    a market it held resolved                 position_closed/1                   market_resolved
    a market it traded was voided             payout_issued/1, payout_reversed/2  market_voided
    how a market ended was undone             payout_issued/1, payout_reversed/2  market_reversed
    money was put in                          funds_deposited/1                   deposit
    a price was reached                       order_matched/1                     price_alert
    a resolution is proposed                  resolution_proposed/1               a job that tells the holders

What an account's owner wants is remembered for a moment; that an account is nobody's, or simulated, for longer.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from accounts.notifications import alerts, holders, texts
from accounts.notifications.preferences import Wishes, read_wishes
from accounts.notifications.texts import Market, Note, Order
from accounts.notifications.writing import write
from trading.array_literals import array_of
from trading.eventlog.codec import LoggedEvent
from trading.eventlog.read import read_creations
from trading.ids import MARKET_SLOTS
from trading.jobs import hint, insert_jobs
from trading.projections.causes import Endings
from trading.projections.creations import Creations
from trading.projections.projection import KNOWN_EVENTS, NotReady, UnknownEvent

MAX_REMEMBERED = 100_000
WISHES_S = 2.0
"""How long a change of preferences may go unnoticed."""

_READ_ORDERS = """
SELECT order_id::text, market_id::text, account_id::text, outcome, side, status, quantity, filled, cost_pips, fees_pips,
       reason, (extract(epoch FROM updated_at) * 1000000)::bigint
FROM "order" WHERE order_id = ANY(%s::uuid[])
"""
_READ_ORDERS_REACHED = "SELECT slot, next_offset FROM projection_checkpoint WHERE projection = 'orders'"

_SETTLING = frozenset({"position_closed/1", "payout_issued/1", "payout_reversed/2"})
_ENDED = {
    "filled": texts.order_filled,
    "cancelled": texts.order_cancelled,
    "expired": texts.order_expired,
}


class OrdersBehind(NotReady):
    """The orders' read model has not got to these events yet; this projection waits for it."""


class _News(NamedTuple):
    """What a batch holds for this projection."""

    orders: dict[str, str]
    """Orders that may have ended, with their accounts."""
    settlements: list[LoggedEvent]
    deposits: list[LoggedEvent]
    trades: list[LoggedEvent]
    proposals: list[LoggedEvent]


class NotificationsProjection:
    """Follows the log after the orders' projection, whose rows say which orders are filled."""

    name = "notifications"
    tables: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._wishes: dict[str, Wishes] = {}
        self._wishes_read_at = 0.0
        self._strangers: set[str] = set()
        self._markets: dict[str, Market] = {}
        self._creations = Creations()
        self._endings = Endings()

    def apply(self, connection: Any, events: Sequence[LoggedEvent]) -> Callable[[], None] | None:
        """Write the notifications of these events; what is returned tells sockets and workers."""
        news = _sort(events)
        fired = alerts.fire(connection, self._creations, news.trades)
        proposed = [holders.proposal_job(event) for event in news.proposals]
        insert_jobs(connection, proposed)

        of_accounts = [*news.settlements, *news.deposits]
        self._learn_wishes(
            connection,
            [
                *news.orders.values(),
                *(event.stream_id for event in of_accounts),
                *(alert.account_id for alert in fired),
            ],
        )
        notes = self._order_notes(connection, news.orders, events)
        notes += [self._alert_note(connection, alert) for alert in fired if alert.account_id in self._wishes]
        for event in of_accounts:
            if event.stream_id in self._wishes:
                notes += self._account_notes(connection, event)
        if not notes and not proposed:
            return None
        written = write(connection, notes, self._wishes)

        def announce() -> None:
            written.announce()
            hint(proposed)

        return announce

    def forget(self) -> None:
        """What is remembered of users and markets is read again."""
        self._wishes.clear()
        self._strangers.clear()
        self._markets.clear()

    def _learn_wishes(self, connection: Any, account_ids: Iterable[str]) -> None:
        now = time.monotonic()
        if now - self._wishes_read_at > WISHES_S or len(self._wishes) > MAX_REMEMBERED:
            self._wishes.clear()
            self._wishes_read_at = now
        if len(self._strangers) > MAX_REMEMBERED:
            self._strangers.clear()
        unknown = set(account_ids) - self._wishes.keys() - self._strangers
        if unknown:
            found = read_wishes(connection, unknown)
            self._wishes |= found
            self._strangers |= unknown - found.keys()

    def _order_notes(
        self, connection: Any, orders: dict[str, str], events: Sequence[LoggedEvent]
    ) -> list[Note]:
        order_ids = [order_id for order_id, account_id in orders.items() if account_id in self._wishes]
        if not order_ids:
            return []
        _require_orders(connection, events)
        read = connection.execute(_READ_ORDERS, [array_of(order_ids)])
        rows = {row[0]: Order(*row) for row in read.fetchall()}
        return [
            _ENDED[order.status](order, self._market(connection, order.market_id))
            for order in (rows[order_id] for order_id in order_ids)
            if order.status in _ENDED
            and (order.status != "cancelled" or order.reason in texts.CANCELLED_BECAUSE)
        ]

    def _alert_note(self, connection: Any, alert: alerts.Fired) -> Note:
        return texts.price_alert(
            alert.account_id,
            self._market(connection, alert.market_id),
            alert_id=alert.alert_id,
            outcome=alert.outcome,
            direction=alert.direction,
            wanted_pips=alert.wanted_pips,
            price_pips=alert.price_pips,
            at_us=alert.at_us,
        )

    def _account_notes(self, connection: Any, event: LoggedEvent) -> list[Note]:
        """None for events that only accompany another one."""
        account_id, data = event.stream_id, event.data
        if event.type == "funds_deposited/1":
            return [
                texts.deposit(
                    account_id,
                    amount_pips=data["amount"],
                    repaid_pips=data["repaid"],
                    event_id=event.event_id,
                    at_us=event.recorded_us,
                )
            ]
        market = self._market(connection, data["market"])
        about: dict[str, Any] = {
            "settlement_id": data["settlement"],
            "at_us": event.recorded_us,
            "key": f"{event.event_id}:{account_id}",
        }
        if event.type == "position_closed/1":
            if (
                not any(data["quantities"])
                or self._endings.of(connection, event, data["settlement"]).payouts is None
            ):
                return []
            return [texts.market_resolved(account_id, market, payout_pips=data["payout"], **about)]
        taken_pips = data["amount"] if event.type == "payout_reversed/2" else -data["amount"]
        if data["kind"] == "take_back" or (data["kind"] == "refund" and taken_pips < 0):
            return [texts.market_voided(account_id, market, returned_pips=-taken_pips, **about)]
        if taken_pips > 0 or data["kind"] == "returned":
            return [texts.market_reversed(account_id, market, taken_pips=taken_pips, **about)]
        # A winner hears of it from the closing of his position.
        return []

    def _market(self, connection: Any, market_id: str) -> Market:
        market = self._markets.get(market_id)
        if market is None:
            with connection.cursor() as cursor:
                created = read_creations(cursor, [market_id])[market_id]
            market = self._markets[market_id] = Market(market_id, created["question"], created["outcomes"])
        return market


def _sort(events: Sequence[LoggedEvent]) -> _News:
    """The events that matter, by what they are about. Refuses unknown types."""
    news = _News({}, [], [], [], [])
    for event in events:
        kind = event.type
        if kind == "order_matched/1":
            news.orders.update({leg["order"]: leg["account"] for leg in event.data["legs"]})
            news.trades.append(event)
        elif kind == "order_cancelled/1":
            if event.data["reason"] in texts.CANCELLED_BECAUSE:
                news.orders[event.data["order"]] = event.data["account"]
        elif kind == "order_expired/1":
            news.orders[event.data["order"]] = event.data["account"]
        elif kind in _SETTLING:
            news.settlements.append(event)
        elif kind == "funds_deposited/1":
            news.deposits.append(event)
        elif kind == "resolution_proposed/1":
            # One that nobody has to agree with and nobody may object to is the end itself, of which holders are told.
            if event.data["approvals"] or event.data["window_us"]:
                news.proposals.append(event)
        elif kind not in KNOWN_EVENTS:
            raise UnknownEvent(event)
    return news


def _require_orders(connection: Any, events: Sequence[LoggedEvent]) -> None:
    """Raise OrdersBehind unless the orders' rows hold what these events did to them."""
    reached = dict(connection.execute(_READ_ORDERS_REACHED).fetchall())
    for event in events:
        if event.slot < MARKET_SLOTS and reached.get(event.slot, 0) <= event.slot_offset:
            raise OrdersBehind(f"the orders' projection has not applied event {event.event_id} yet")
