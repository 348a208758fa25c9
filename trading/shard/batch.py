"""MATCH: runs a batch's commands through the engine and gathers what T2 and the replies need.

Pure but for the markets it changes in memory: if the commit fails, those are dropped and loaded
from the log again.
"""

import dataclasses
from typing import Any

from trading.engine import events as ev
from trading.engine.apply import apply
from trading.engine.codec import EVENT_NAMES, event_json
from trading.engine.commands import AmendOrder, CancelOrder, CancelOrders
from trading.engine.decide import decide
from trading.engine.market import Market, Order
from trading.engine.trades import Trade, trades_of
from trading.eventlog.append import EventRow, Head, encode_row
from trading.eventlog.codec import timestamp_text
from trading.eventlog.recorded import metadata_json
from trading.order_view import order_view, rejected_view
from trading.shard.commit import CashChange, CommitPlan
from trading.shard.slots import OwnedSlot
from trading.wire import Envelope, Outcome

NO_METADATA = b"{}"
_OF_ONE_ORDER = (ev.OrderPlaced, ev.OrderCancelled, ev.OrderExpired, ev.OrderAmended)
_MOVING = frozenset((ev.OrderMatched, *_OF_ONE_ORDER))


class Batch:
    """The commands between two commits, and what they led to."""

    def __init__(self, *, slots: list[OwnedSlot], granted: dict[str, int], now_us: int) -> None:
        self.now_us = max([now_us, *(s.recorded_us for s in slots)])
        self.recorded_at = timestamp_text(self.now_us)
        self.slots = [dataclasses.replace(owned) for owned in slots]  # as they stand before it
        self.offsets = {owned.slot: owned.next_offset for owned in slots}
        self.command_offsets = {owned.slot: owned.command_offset for owned in slots}
        self.available = dict(granted)
        self.cash = {account_id: CashChange() for account_id in granted}
        self.rows: list[EventRow] = []
        self.heads: dict[int, dict[str, Head]] = {}
        self.markets: dict[str, Market] = {}
        self.trades: dict[str, list[tuple[Trade, int]]] = {}  # with the seq of each
        self.counts: dict[str, int] = {}
        self.refusals: dict[str, int] = {}
        self.refused_keys: dict[tuple[str, str], str] = {}
        self._replies: list[tuple[str, Outcome]] = []

    def run(self, *, slot: int, gateway_id: str, envelope: Envelope, market: Market, head: Head) -> Head:
        """Decides and applies one command; answers the new head of the market's stream."""
        command = envelope.command
        subject = _named_order(market, command)
        granted = self.available.get(envelope.account_id, 0)
        first: ev.Event | None = None
        cancelled = 0
        for event in decide(market, command, budget_pips=granted, now_us=self.now_us):
            kind = type(event)
            if kind in _MOVING:
                self._apply_moving(market, event)
            else:
                apply(market, event, self.now_us)
            if first is None:
                first = event
                metadata = metadata_json(
                    command, actor=envelope.actor, granted=granted, request_id=envelope.request_id
                )
                if isinstance(event, ev.OrderPlaced):
                    subject = market.orders[event.order]
            else:
                metadata = NO_METADATA
            cancelled += kind is ev.OrderCancelled
            head = self._append(slot, market, head, event, kind, metadata)
        if first is not None:
            self.markets[market.market_id] = market
            self.heads.setdefault(slot, {})[market.market_id] = head
        if isinstance(first, ev.CommandRefused) and envelope.key:
            self.refused_keys[envelope.account_id, envelope.key] = first.reason
        if gateway_id:
            self._reply(slot, gateway_id, envelope, market, first, subject, cancelled)
        return head

    def _append(
        self, slot: int, market: Market, head: Head, event: ev.Event, kind: type, metadata: bytes
    ) -> Head:
        name = EVENT_NAMES[kind]
        offset = self.offsets[slot]
        row, head = encode_row(
            slot, offset, market.market_id, head, name, event_json(event), metadata, self.recorded_at
        )
        assert head.version == market.seq, "the log and the market disagree on the version"
        self.rows.append(row)
        self.offsets[slot] = offset + 1
        self.counts[name] = self.counts.get(name, 0) + 1
        return head

    def _apply_moving(self, market: Market, event: ev.Event) -> None:
        """Applies an event that moves free or reserved cash, and adds that to what T2 will write."""
        if isinstance(event, ev.OrderMatched):
            reserves = [market.orders[leg.order].reserved_pips for leg in event.legs]
            apply(market, event, self.now_us)
            for leg, reserved in zip(event.legs, reserves, strict=True):
                self._add_cash(leg.account, leg.cash, leg.reserved - reserved, leg.fee)
            trades = self.trades.setdefault(market.market_id, [])
            trades.extend((trade, market.seq) for trade in trades_of(event))
            return
        assert isinstance(event, _OF_ONE_ORDER), "only events of orders move cash"
        order = market.orders.get(event.order)
        reserved = order.reserved_pips if order is not None else 0
        apply(market, event, self.now_us)
        self._add_cash(event.account, event.cash, getattr(event, "reserved", 0) - reserved, 0)

    def _add_cash(self, account_id: str, cash: int, reserved: int, fee: int) -> None:
        self.available[account_id] = self.available.get(account_id, 0) + cash
        change = self.cash.get(account_id)
        if change is None:
            change = self.cash[account_id] = CashChange()
        change.reserved += reserved
        change.fees += fee

    def _reply(
        self, slot: int, gateway_id: str, envelope: Envelope, market: Market, first: ev.Event | None,
        subject: Order | None, cancelled: int,
    ) -> None:  # fmt: skip
        command, command_id, offset = envelope.command, envelope.command_id, self.offsets[slot] - 1
        if isinstance(first, (ev.OrderRejected, ev.CommandRefused)):
            self.refusals[first.reason] = self.refusals.get(first.reason, 0) + 1
            view = rejected_view(first, market, self.now_us) if isinstance(first, ev.OrderRejected) else None
            self.answer(gateway_id, Outcome(command_id, "refused", slot, offset, [first.reason, view]))
        elif market.seq == 0:
            self.answer(gateway_id, Outcome(command_id, "missing", slot, offset, None))
        elif isinstance(command, CancelOrders):
            self.answer(gateway_id, Outcome(command_id, "count", slot, offset, cancelled))
        elif subject is not None:
            self.answer(gateway_id, Outcome(command_id, "order", slot, offset, (subject, market.market_id)))
        else:
            self.answer(gateway_id, Outcome(command_id, "market", slot, offset, market.status))

    def answer(self, gateway_id: str, outcome: Outcome) -> None:
        """Adds a reply; nobody waits for commands without a gateway."""
        if gateway_id:
            self._replies.append((gateway_id, outcome))

    def replies(self) -> dict[str, list[Outcome]]:
        """The outcomes for each gateway; call once, after the last command.

        Orders are shown as the commit leaves them, after later commands of the batch too.
        """
        by_gateway: dict[str, list[Outcome]] = {}
        for gateway_id, outcome in self._replies:
            if outcome.kind == "order":
                order, market_id = outcome.payload
                outcome = Outcome(
                    outcome.command_id, "order", outcome.slot, self.offsets[outcome.slot] - 1,
                    order_view(order, market_id),
                )  # fmt: skip
            by_gateway.setdefault(gateway_id, []).append(outcome)
        return by_gateway

    def plan(self, batch_id: str | None) -> CommitPlan:
        """What T2 has to write."""
        for account_id, left in self.available.items():
            assert left >= 0, "a command spent more than it was granted"
            if left or account_id in self.cash:
                self.cash[account_id].credit = left
        changes = {a: c for a, c in self.cash.items() if c.credit or c.reserved or c.fees}
        slots = self.slots
        return CommitPlan(
            batch_id, slots, [self.offsets[s.slot] for s in slots], [self.command_offsets[s.slot] for s in slots],
            self.recorded_at, self.rows, self.heads, changes, self.refused_keys,
        )  # fmt: skip


def _named_order(market: Market, command: Any) -> Order | None:
    """The open order that a cancel or an amend means, as it is before it ends."""
    if not isinstance(command, (CancelOrder, AmendOrder)):
        return None
    return market.find_order(
        account_id=command.account_id, order_id=command.order_id, client_order_id=command.client_order_id
    )
