"""A market's audit file in the admin: asked for, made by a job, fetched by staff and by nobody else."""

import gzip
import json

import pytest
from django.db import connection
from django.test import Client

from tests.trading.projections.emptied import empty_exchange
from tests.trading.projections.written_log import WrittenMarket, funded_account
from trading.eventlog.signing import public_hex, signing_key
from trading.ids import new_id
from trading.jobs.run import database_clock, run

pytestmark = pytest.mark.django_db(transaction=True)

KEY = "07" * 32


@pytest.fixture(autouse=True)
def _places(settings, tmp_path, transactional_db):
    empty_exchange()
    settings.AUDIT_DIR, settings.ARCHIVE_DIR = tmp_path / "audits", tmp_path / "archive"
    settings.HEADS_KEY = KEY
    yield
    empty_exchange()


@pytest.fixture
def market(_places):
    """A market of the catalogue with events in the log."""
    from markets.models import Market

    written = WrittenMarket()
    written.trade_randomly([funded_account(), funded_account()], 20, seed=1)
    Market.objects.create(
        market_id=written.market_id, slug="will-it", question="Will it?", outcomes=["Yes", "No"], category="tests",
        resolution_criteria="x",
    )  # fmt: skip
    return written


def person(**more):
    from accounts.models import User

    client = Client()
    client.force_login(User.objects.create_user(f"p{new_id()[-12:]}", "", "correct-horse-battery", **more))
    return client


def clerk(*permissions):
    """Of staff, with these rights."""
    from django.contrib.auth.models import Permission

    from accounts.models import User

    user = User.objects.create_user(f"c{new_id()[-12:]}", "", "correct-horse-battery", is_staff=True)
    for permission in permissions:
        app, _, name = permission.partition(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=name))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def operator():
    return person(is_staff=True, is_superuser=True)


def pages(market):
    base = f"/admin/markets/market/{market.market_id}"
    return f"{base}/change/", f"{base}/audit/", f"{base}/audit/events/", f"{base}/audit/manifest/"


def run_jobs():
    with connection.cursor() as cursor:
        cursor.execute("SELECT id::text FROM job WHERE name = 'markets.make_audit'")
        found = [job_id for (job_id,) in cursor.fetchall()]
    now = database_clock()
    return [run(job_id, clock=lambda: now) for job_id in found]


def test_it_is_asked_for_made_and_fetched_with_its_manifest(market, operator):
    page, ask, events, manifest = pages(market)
    assert "not made yet" in operator.get(page).content.decode()
    assert operator.get(events).status_code == 404
    assert operator.post(ask)["Location"] == page
    assert "One is being made" in operator.get(page).content.decode()
    operator.post(ask)
    assert run_jobs() == ["done"]
    told = operator.get(page).content.decode()
    assert f"{market.state.seq} events</a> of the market" in told
    assert "One is being made" not in told
    lines = gzip.decompress(b"".join(operator.get(events).streaming_content)).splitlines()
    assert len(lines) == market.state.seq + 1
    answer = operator.get(manifest)
    assert answer["Content-Disposition"].startswith('attachment; filename="audit_')
    document = json.loads(b"".join(answer.streaming_content))
    assert document["public_key"] == public_hex(signing_key(given=KEY, file=None))


def test_made_again_it_has_what_has_happened_since(market, operator):
    page, ask, *_ = pages(market)
    for _ in range(2):
        operator.post(ask)
        assert run_jobs() == ["done"]
        assert f"{market.state.seq} events</a>" in operator.get(page).content.decode()
        market.trade_randomly([funded_account()], 3, seed=2)


def test_nobody_but_staff_who_may_look_at_markets_gets_near_it(market, operator, settings):
    _, ask, events, manifest = pages(market)
    operator.post(ask)
    run_jobs()
    for client, status in (
        (Client(), 302), (person(), 302), (person(is_staff=True), 403), (clerk("markets.change_market"), 403),
    ):  # fmt: skip
        assert client.post(ask).status_code == status
        assert client.get(events).status_code == client.get(manifest).status_code == status
    reader = clerk("markets.view_market", "trading.view_event")
    assert (reader.post(ask).status_code, reader.get(events).status_code) == (403, 200)
    assert clerk("markets.change_market", "trading.view_event").post(ask).status_code == 302


@pytest.mark.parametrize(
    "path",
    ["../../heads_key/", "..%2f..%2fheads_key/", "events%00/", "heads_key/", "manifest.json/", "%2e%2e/"],
)
def test_no_path_of_ones_own_leads_to_a_file(market, operator, settings, path):
    (settings.AUDIT_DIR).mkdir(parents=True)
    (settings.AUDIT_DIR.parent / "heads_key").write_text("secret")
    answer = operator.get(f"/admin/markets/market/{market.market_id}/audit/{path}")
    assert answer.status_code in (302, 404)
    assert b"secret" not in answer.getvalue()


def test_only_a_market_that_there_is_is_asked_for_and_only_by_a_form(market, operator):
    _, ask, *_ = pages(market)
    assert operator.get(ask).status_code == 404
    assert operator.post(f"/admin/markets/market/{new_id()}/audit/").status_code == 404
    assert run_jobs() == []


def test_a_failure_is_told_and_may_be_asked_for_again(market, operator, monkeypatch):
    from trading.errors import ArchivedEvents

    page, ask, *_ = pages(market)

    def fail(*args, **options):
        raise ArchivedEvents("They are archived in event_2026_01.jsonl.gz.")

    with monkeypatch.context() as broken:
        broken.setattr("markets.audits.make_audit", fail)
        operator.post(ask)
        assert run_jobs() == ["dead"]
    assert "The last one failed:" in operator.get(page).content.decode()
    assert "event_2026_01.jsonl.gz" in operator.get(page).content.decode()
    operator.post(ask)
    assert run_jobs() == ["done"]
    assert "failed" not in operator.get(page).content.decode()
