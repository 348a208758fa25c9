"""Markets that wait for their end: which they are, how urgent, whom it is told, and where staff sees them."""

import datetime as dt
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core import mail
from django.db import connection
from django.test import Client
from django.utils import timezone

from tests.trading.projections.emptied import empty_exchange
from trading.ids import new_id

pytestmark = pytest.mark.django_db

HOUR = dt.timedelta(hours=1)
LIST = "/admin/markets/awaitingmarket/"


@pytest.fixture
def closed(listed: Any) -> Callable[..., Any]:
    """`closed("Will it?", hours=5)`: a market whose time was over so many hours ago."""

    def make(question: str, *, hours: float, status: str = "closed", **more: Any) -> Any:
        return listed(question, status=status, closes_at=timezone.now() - hours * HOUR, **more)

    return make


@pytest.fixture
def staff() -> Callable[..., Any]:
    """`staff("mia")`: somebody of staff with an address."""
    from accounts.models import User

    def make(name: str, *, email: str | None = None, **more: Any) -> Any:
        address = f"{name}@mail.example" if email is None else email
        return User.objects.create_user(name, address, "correct-horse-battery", **{"is_staff": True, **more})

    return make


def review(market: Any, status: str, *, hours: float = 0) -> None:
    """A resolution of the market, proposed so long ago."""
    from trading.models import Resolution

    at = timezone.now() - hours * HOUR
    Resolution.objects.create(
        resolution_id=new_id(), market_id=market.market_id, payouts=[10_000, 0], evidence="Seen.", status=status,
        proposed_by="user:1", proposed_at=at, approvals_needed=1, window_us=0, approved_by=[], disputes=0,
        reversal_by=[], updated_at=at,
    )  # fmt: skip


def levels() -> dict[str, str]:
    from markets.awaiting import awaiting

    return {market.question: market.level for market in awaiting()}


def run_mails() -> list[tuple[str, str]]:
    """Run what waits in the queue, and answer (to, subject) of each mail by then."""
    from trading.jobs.run import run

    with connection.cursor() as cursor:
        cursor.execute("SELECT id::text FROM job WHERE queue = 'notify' ORDER BY created_at, key")
        jobs = [job_id for (job_id,) in cursor.fetchall()]
    assert {run(job_id) for job_id in jobs} <= {"done"}
    return sorted((message.to[0], message.subject) for message in mail.outbox)


def test_a_closed_market_is_due_at_once_and_more_urgent_the_longer_it_waits(closed: Any, listed: Any) -> None:
    for question, hours in (("Due?", 0), ("Still due?", 23.9), ("Overdue?", 24.1), ("Escalated?", 72.1)):
        closed(question, hours=hours)
    listed("Open?")
    for status in ("resolved", "voided", "suspended", "draft"):
        closed(f"Is it {status}?", hours=100, status=status)
    assert levels() == {
        "Due?": "due",
        "Still due?": "due",
        "Overdue?": "overdue",
        "Escalated?": "escalated",
    }


def test_how_long_is_too_long_is_the_operators_to_say(closed: Any, settings: Any) -> None:
    settings.RESOLUTION_OVERDUE, settings.RESOLUTION_ESCALATION = HOUR, 2 * HOUR
    for hours in (0.5, 1.5, 2.5):
        closed(f"Closed for {hours} hours?", hours=hours)
    assert sorted(levels().values()) == ["due", "escalated", "overdue"]


def test_disputes_and_proposals_that_need_approval_wait_beside_them_and_what_is_approved_does_not(
    closed: Any,
) -> None:
    review(closed("Disputed?", hours=90, status="disputed"), "disputed", hours=3)
    review(closed("Proposed?", hours=90, status="proposed"), "proposed", hours=2)
    review(closed("Approved?", hours=90, status="proposed"), "approved")
    review(closed("Being emptied before its end?", hours=90), "approved")
    review(closed("Withdrawn?", hours=90), "withdrawn")
    assert levels() == {"Disputed?": "disputed", "Proposed?": "proposed", "Withdrawn?": "escalated"}


def test_a_market_whose_end_was_undone_waits_from_then_on(closed: Any) -> None:
    from trading.models import Settlement

    market = closed("Undone?", hours=500, status="reversed")
    undone_at = timezone.now() - 30 * HOUR
    Settlement.objects.create(
        settlement_id=new_id(), market_id=market.market_id, kind="reverse", status="done", accounts_total=0,
        accounts_paid=0, paid_pips=0, collateral_pips=0, reverses=new_id(), cause_slot=0, cause_offset=0,
        created_at=undone_at,
    )  # fmt: skip
    assert levels() == {"Undone?": "overdue"}


def test_the_markets_that_wait_are_found_by_an_index_and_not_among_all(closed: Any) -> None:
    from markets.awaiting import awaiting

    closed("Due?", hours=1)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    assert "market_undecided" in awaiting().explain()


def test_each_level_is_told_once_to_those_whom_it_concerns(closed: Any, staff: Any, settings: Any) -> None:
    from markets.models import Market
    from markets.reminders import remind

    staff("clerk")
    maker = staff("maker")
    staff("chief", is_superuser=True)
    staff("silent", email="")
    staff("gone", is_active=False)
    staff("customer", is_staff=False)
    market = closed("Will it rain?", hours=1)
    Market.objects.filter(pk=market.market_id).update(created_by=maker)
    assert (remind(), remind()) == (1, 0)
    assert run_mails() == [("maker@mail.example", "Due for a resolution: Will it rain?")]
    assert f"{settings.SITE_URL}/admin/markets/market/{market.market_id}/propose/" in mail.outbox[0].body

    mail.outbox.clear()
    settings.RESOLUTION_OVERDUE = HOUR / 2
    assert (remind(), remind()) == (1, 0)
    everybody = [f"{name}@mail.example" for name in ("chief", "clerk", "maker")]
    assert run_mails() == [(address, "Overdue: Will it rain?") for address in everybody]

    mail.outbox.clear()
    settings.RESOLUTION_ESCALATION = HOUR / 2
    assert (remind(), remind()) == (1, 0)
    assert run_mails() == [("chief@mail.example", "Escalated: Will it rain?")]


def test_of_a_market_that_no_member_of_staff_has_made_all_are_told_that_it_is_due(
    closed: Any, staff: Any
) -> None:
    from markets.models import Market
    from markets.reminders import remind

    staff("clerk"), staff("other")
    market = closed("Will it rain?", hours=1)
    Market.objects.filter(pk=market.market_id).update(created_by=staff("customer", is_staff=False))
    assert remind() == 1
    assert [address for address, _ in run_mails()] == ["clerk@mail.example", "other@mail.example"]


def test_many_markets_of_one_round_come_in_one_mail_with_the_most_urgent_first(
    closed: Any, staff: Any
) -> None:
    from markets.reminders import remind

    staff("clerk", is_superuser=True)
    for hours in (1, 30, 80):
        closed(f"Closed for {hours} hours?", hours=hours)
    assert remind() == 3
    assert run_mails() == [("clerk@mail.example", "Escalated: 3 markets wait for a resolution")]
    text = mail.outbox[0].body
    assert text.index("Closed for 80") < text.index("Closed for 30") < text.index("Closed for 1 ")


def test_what_was_proposed_before_the_mail_went_out_is_not_mailed(closed: Any, staff: Any) -> None:
    from markets.reminders import remind
    from trading.models import MarketState

    staff("clerk")
    market = closed("Will it rain?", hours=1)
    remind()
    MarketState.objects.filter(market_id=market.market_id).update(status="proposed")
    review(market, "proposed")
    assert run_mails() == []


def test_disputes_are_listed_and_not_mailed(closed: Any, staff: Any) -> None:
    from markets.reminders import remind

    staff("clerk")
    review(closed("Disputed?", hours=90, status="disputed"), "disputed")
    assert (remind(), run_mails()) == (0, [])


@pytest.mark.django_db(transaction=True)
def test_two_rounds_at_once_tell_once(closed: Any, staff: Any) -> None:
    from markets.models import Reminder
    from markets.reminders import remind

    staff("clerk")
    for number in range(20):
        closed(f"Is it number {number}?", hours=1)
    told, together = [], threading.Barrier(3)

    def one_round() -> None:
        together.wait()
        told.append(remind())
        connection.close()

    rounds = [threading.Thread(target=one_round) for _ in range(3)]
    for each in rounds:
        each.start()
    for each in rounds:
        each.join()
    try:
        assert (sum(told), Reminder.objects.count()) == (20, 20)
        run_mails()
        assert sum(message.body.count("Is it number") for message in mail.outbox) == 20
    finally:
        empty_exchange()


def test_staff_sees_them_with_what_waits_longest_first_and_one_click_to_propose(
    closed: Any, staff: Any
) -> None:
    for hours in (1, 80, 30):
        market = closed(f"Closed for {hours} hours?", hours=hours)
    review(closed("Is it disputed?", hours=0, status="disputed"), "disputed")
    client = Client()
    client.force_login(staff("chief", is_superuser=True))
    page = client.get(LIST).content.decode()
    places = [page.index(text) for text in ("for 80 hours", "for 30 hours", "for 1 hours", "Is it disputed?")]
    assert places == sorted(places)
    assert f"/admin/markets/market/{market.market_id}/propose/" in page
    only = client.get(f"{LIST}?level=escalated&q=hours").content.decode()
    assert "for 80 hours" in only
    assert "for 30 hours" not in only


def test_who_may_not_see_markets_does_not_see_which_of_them_wait(closed: Any, staff: Any) -> None:
    closed("Will it rain?", hours=1)
    client = Client()
    client.force_login(staff("clerk"))
    assert client.get(LIST).status_code == 403


def test_health_and_metrics_count_them_and_are_not_degraded(closed: Any) -> None:
    from trading.jobs.queues import QUEUES, beat

    for queue in QUEUES:
        beat(queue)
    closed("Escalated?", hours=80)
    review(closed("Disputed?", hours=1, status="disputed"), "disputed")
    report = json.loads(Client().get("/health/deep").content)
    wanted = {"due": 0, "overdue": 0, "escalated": 1, "disputed": 1, "proposed": 0}
    assert (report["status"], report["markets_awaiting_resolution"]) == ("ok", wanted)
    metrics = Client().get("/metrics").content.decode()
    for level, count in wanted.items():
        assert f'exchange_markets_awaiting_resolution{{level="{level}"}} {count:.1f}' in metrics
