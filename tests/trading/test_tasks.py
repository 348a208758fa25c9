"""Periodic tasks: what is due is found, sent once more, and left alone while nobody answers."""

import datetime as dt

import pytest
from django.db import connection
from django.utils import timezone

from trading import tasks
from trading.engine.commands import CloseMarket, OpenMarket, SettleResolution
from trading.errors import OutcomeUnknown, Overloaded, Refused
from trading.ids import market_slot, new_id

pytestmark = pytest.mark.django_db

HOUR = dt.timedelta(hours=1)


class FakeGateway:
    """Takes every command, or answers as it is told for a market."""

    def __init__(self) -> None:
        self.commands = []
        self.answers = {}

    def submit(self, command, *, actor, request_id):
        self.commands.append(command)
        if command.market_id in self.answers:
            raise self.answers[command.market_id]


@pytest.fixture
def gateway(monkeypatch):
    fake = FakeGateway()
    monkeypatch.setattr(tasks, "gateway_sync", lambda: fake)
    return fake


def add_market(status, *, closes, opens=None):
    """A market whose times are that far from now."""
    market_id, now = new_id(), timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO market (market_id, slot, status, tick_pips, taker_fee_e4, maker_fee_e4, created_at, opens_at, "
            "closes_at, seq) VALUES (%s, %s, %s, 100, 0, 0, now(), %s, %s, 1)",
            [market_id, market_slot(market_id), status, now + opens if opens else None, now + closes],
        )
    return market_id


def add_resolution(market_id, status, *, disputable=None):
    """A proposal of the market's end, open to dispute until that far from now."""
    resolution_id = new_id()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO resolution (resolution_id, market_id, payouts, evidence, status, proposed_by, proposed_at, "
            "approvals_needed, window_us, disputable_until, updated_at) "
            "VALUES (%s, %s, '{10000,0}', 'Seen.', %s, 'user:1', now(), 1, 60000000, %s, now())",
            [resolution_id, market_id, status, disputable and timezone.now() + disputable],
        )
    return resolution_id


def test_markets_close_and_open_when_their_time_has_come(gateway):
    due = [add_market(status, closes=-HOUR) for status in ("open", "suspended")]
    never_opened = add_market("draft", opens=-2 * HOUR, closes=-HOUR)
    opening = add_market("draft", opens=-HOUR, closes=HOUR)
    add_market("open", closes=HOUR)
    add_market("draft", opens=HOUR, closes=2 * HOUR)
    for status in ("closed", "resolved", "voided"):
        add_market(status, closes=-HOUR)
    assert tasks.close_due_markets() == 4
    closed = {CloseMarket(market_id) for market_id in (*due, never_opened)}
    assert set(gateway.commands) == closed | {OpenMarket(opening)}


def test_a_refusal_does_not_keep_the_others_from_closing(gateway):
    first, second = add_market("open", closes=-2 * HOUR), add_market("open", closes=-HOUR)
    gateway.answers = {first: Refused("market_not_open")}
    assert tasks.close_due_markets() == 1
    assert [command.market_id for command in gateway.commands] == [first, second]


def test_a_market_that_cannot_be_loaded_keeps_no_other_from_closing_or_settling(gateway):
    first, second = add_market("open", closes=-2 * HOUR), add_market("proposed", closes=-HOUR)
    over = add_resolution(second, "approved", disputable=-HOUR)
    gateway.answers = {first: Overloaded("The market is out of order.")}
    assert tasks.close_due_markets() == 1
    assert gateway.commands == [CloseMarket(first), SettleResolution(second, over)]


def test_while_the_engine_does_not_answer_one_command_is_tried(gateway):
    first = add_market("open", closes=-2 * HOUR)
    add_market("open", closes=-HOUR)
    gateway.answers = {first: OutcomeUnknown()}
    assert tasks.close_due_markets() == 0
    assert len(gateway.commands) == 1


def test_what_is_approved_settles_once_its_dispute_window_is_over(gateway):
    market_id = add_market("proposed", closes=-HOUR)
    add_resolution(market_id, "superseded", disputable=-2 * HOUR)
    over = add_resolution(market_id, "approved", disputable=-HOUR)
    add_resolution(add_market("proposed", closes=-HOUR), "approved", disputable=HOUR)
    add_resolution(add_market("proposed", closes=-HOUR), "proposed")
    for status in ("disputed", "withdrawn", "settled"):
        add_resolution(add_market("closed", closes=-HOUR), status, disputable=-HOUR)
    assert tasks.close_due_markets() == 1
    assert gateway.commands == [SettleResolution(market_id, over)]


def test_while_a_settled_markets_orders_are_cancelled_it_is_not_settled_again(gateway):
    add_resolution(add_market("closed", closes=-HOUR), "approved", disputable=-HOUR)
    assert tasks.close_due_markets() == 0
    assert gateway.commands == []


def test_a_settlement_that_comes_late_or_twice_is_refused_and_keeps_no_other_back(gateway):
    first, second = (add_market("proposed", closes=-HOUR) for _ in range(2))
    add_resolution(first, "approved", disputable=-2 * HOUR)
    add_resolution(second, "approved", disputable=-HOUR)
    gateway.answers = {first: Refused("market_not_open")}
    assert tasks.close_due_markets() == 1
    assert [command.market_id for command in gateway.commands] == [first, second]


def test_partitions_are_there_already():
    assert tasks.make_partitions() == []


def test_a_market_whose_time_comes_under_review_is_closed_while_it_has_a_book(gateway):
    with_book, _, _ = (add_market(status, closes=-HOUR) for status in ("disputed", "proposed", "disputed"))
    later = add_market("proposed", closes=HOUR)
    with connection.cursor() as cursor:
        for market_id in (with_book, later):
            cursor.execute(
                'INSERT INTO "order" (order_id, market_id, account_id, outcome, side, type, price_pips, quantity, '
                "time_in_force, status, created_at, updated_at, seq) "
                "VALUES (%s, %s, %s, 0, 'buy', 'limit', 100, 1, 'GTC', 'open', now(), now(), 1)",
                [new_id(), market_id, new_id()],
            )
    assert tasks.close_due_markets() == 1
    assert gateway.commands == [CloseMarket(with_book)]
