"""The admin's own manners: refusals are told, nothing is deleted, the log is only read."""

import datetime as dt

import pytest
from django.test import Client
from django.utils import timezone

from trading.errors import Refused
from trading.ids import new_id

pytestmark = pytest.mark.django_db

LIST = "/admin/markets/market/"
EVENTS = "/admin/trading/event/"


@pytest.fixture
def operator():
    from accounts.models import User

    client = Client()
    client.force_login(User.objects.create_superuser("operator", "", "correct-horse-battery"))
    return client


@pytest.fixture
def event(listed):
    """One event in the log, a day old."""
    from django.db import connection

    row = listed("Will its events be listed?")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO event (slot, slot_offset, stream_id, version, type, data, metadata, hash, recorded_at) "
            "VALUES (3, 17, %s, 1, 'market_opened/1', '{\"a\": \"<b>\"}', '{}', '\\xabcd', %s)",
            [row.market_id, timezone.now() - dt.timedelta(seconds=700)],
        )
    return row


def page(answer):
    return answer.content.decode()


def test_refusal_of_an_action_is_told_market_by_market(operator, listed, gateway):
    rows = [listed(f"Will number {n} be resumed?") for n in (1, 2)]
    gateway.failure = Refused("market_not_open")
    form = {"action": "resume_markets", "_selected_action": [row.market_id for row in rows]}
    answer = operator.post(LIST, form, follow=True)
    told = [str(message) for message in answer.context["messages"]]
    assert sorted(text.split(": ")[0] for text in told) == [f"“{row.question}”" for row in rows]
    assert all("market_not_open" in text for text in told)


def test_resolving_asks_for_one_market_and_leads_to_its_page(operator, listed, gateway):
    rows = [listed(f"Will number {n} be resolved?") for n in (1, 2)]
    both = {"action": "resolve_market", "_selected_action": [row.market_id for row in rows]}
    assert "Choose one market" in page(operator.post(LIST, both, follow=True))
    one = {"action": "resolve_market", "_selected_action": [rows[0].market_id]}
    assert operator.post(LIST, one)["Location"] == f"{LIST}{rows[0].market_id}/resolve/"
    assert gateway.commands == []


def test_resolution_by_payouts_is_sent_as_a_vector(operator, listed, gateway):
    row = listed("Will the three of them tie?", outcomes=("A", "B", "C"))
    form = {"winner": "", "payout_0": "0.5", "payout_2": "0.5000", "evidence": "They tied."}
    answer = operator.post(f"{LIST}{row.market_id}/resolve/", form)
    assert answer["Location"] == f"{LIST}{row.market_id}/resolution/?as_of=3-41"
    (command,) = gateway.commands
    assert (command.payouts_pips, command.evidence) == ((5_000, 0, 5_000), "They tied.")


@pytest.mark.parametrize(
    "form", [{"winner": "A", "payout_1": "1"}, {"winner": "Z"}, {"payout_0": "0.9"}, {"payout_0": "x"}, {}]
)
def test_resolution_that_does_not_add_up_is_not_sent(operator, listed, gateway, form):
    row = listed("Will a foul resolution pass?", outcomes=("A", "B"))
    answer = operator.post(f"{LIST}{row.market_id}/resolve/", {"evidence": "x", **form})
    assert "errorlist" in page(answer)
    assert gateway.commands == []


def test_refused_command_is_told_above_its_form(operator, listed, gateway):
    row = listed("Will this be voided twice?")
    gateway.failure = Refused("market_not_open")
    assert "market_not_open" in page(operator.post(f"{LIST}{row.market_id}/void/", {"evidence": "x"}))


def test_markets_are_neither_changed_nor_deleted_by_the_admin(operator, listed):
    from markets.models import Market

    row = listed("Will its question be rewritten?")
    operator.post(f"{LIST}{row.market_id}/change/", {"question": "Another question altogether?"})
    assert operator.post(f"{LIST}{row.market_id}/delete/", {"post": "yes"}).status_code == 403
    assert Market.objects.get().question == row.question


def test_staff_without_the_permission_get_no_command(listed, gateway):
    from accounts.models import User

    user = User.objects.create_user("clerk", "", "correct-horse-battery", is_staff=True)
    client = Client()
    client.force_login(user)
    row = listed("Will a clerk resolve it?")
    assert (
        client.post(f"{LIST}{row.market_id}/resolve/", {"winner": "Yes", "evidence": "x"}).status_code == 403
    )
    assert client.get(f"{LIST}add/").status_code == 403
    assert client.get(EVENTS).status_code == 403
    assert gateway.commands == []


def test_log_shows_the_last_minutes_or_all_of_one_stream(operator, event):
    assert "3-17" not in page(operator.get(EVENTS))
    for query in (
        "?recorded=1h",
        f"?q={event.market_id}",
        f"?q={event.slug}",
        "?recorded=1h&type=market_opened%2F1",
    ):
        assert "3-17" in page(operator.get(EVENTS + query)), query
    for query in (f"?q={new_id()}", "?q=nonsense", "?recorded=1h&type=order_placed%2F1"):
        assert "3-17" not in page(operator.get(EVENTS + query)), query


def test_event_is_shown_whole_and_cannot_be_touched(operator, event):
    shown = page(operator.get(f"{EVENTS}3-17/change/"))
    assert "abcd" in shown
    assert "&lt;b&gt;" in shown
    for path in (f"{EVENTS}add/", f"{EVENTS}3-17/delete/"):
        assert operator.post(path, {"post": "yes"}).status_code == 403
    assert operator.post(f"{EVENTS}3-17/change/", {"type": "x"}).status_code == 403
    for missing in ("3-18", "99-1", "x", "3-", "1" * 40):
        assert operator.get(f"{EVENTS}{missing}/change/").status_code == 302
