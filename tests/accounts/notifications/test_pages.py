"""The notifications' part of the account page: its forms do what the API does, and carry CSRF."""

import re

import pytest
from django.test import Client

from tests.accounts.callers import PASSWORD
from tests.trading.projections.written_log import WrittenMarket


@pytest.fixture
def mia(db):
    from accounts import services

    return services.register(username="mia", password=PASSWORD)


@pytest.fixture
def browser(mia):
    client = Client(enforce_csrf_checks=True)
    client.force_login(mia)
    return client


def send(browser, path, form=()):
    page = browser.get("/account").content.decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[1]
    return browser.post(path, {**dict(form), "csrfmiddlewaretoken": token})


def test_the_grid_shows_and_saves_what_is_ticked(browser, mia):
    from accounts.notifications.preferences import grid_of

    page = browser.get("/account").content.decode()
    assert 'name="market_resolved.email" aria-label="Market resolved by e-mail" checked' in page
    assert 'name="order_filled.email" aria-label="Order filled by e-mail">' in page
    answer = send(
        browser, "/account/preferences", {"order_filled.email": "on", "x.y": "on", "digest": "daily"}
    )
    assert (answer.status_code, answer["Location"]) == (302, "/account#channels")
    grid, digest = grid_of(str(mia.account_id))
    assert [(kind, channel) for kind, cells in grid.items() for channel, is_on in cells.items() if is_on] == [
        ("order_filled", "email")
    ]
    assert digest == "daily"
    send(browser, "/account/preferences", {"digest": "weekly"})
    assert grid_of(str(mia.account_id))[1] == "daily"


def test_an_address_is_saved_asked_and_shown_as_not_confirmed(browser, mia, jobs):
    assert send(browser, "/account/email", {"email": "mia@mail.example"}).status_code == 302
    assert jobs() == [
        ("accounts.confirm_email", {"account": str(mia.account_id), "email": "mia@mail.example"})
    ]
    assert "not confirmed yet" in browser.get("/account").content.decode()
    again = send(browser, "/account/email", {"email": "mia@mail.example"})
    assert (again.status_code, "wait a minute" in again.content.decode()) == (400, True)
    assert send(browser, "/account/email", {"email": "no address"}).status_code == 400
    mia.refresh_from_db()
    assert mia.email == "mia@mail.example"
    assert send(browser, "/account/email", {"email": ""}).status_code == 302


def test_a_webhook_is_made_tested_rotated_and_deleted_with_its_secret_shown_once(
    browser, mia, server, run_jobs
):
    from accounts.models import Webhook

    made = send(browser, "/account/webhooks", {"url": f"{server.url}/in", "kinds": "deposit"})
    secret = re.search(r"data-webhook-secret>(whsec_[^<]+)<", made.content.decode())[1]
    assert made["Cache-Control"].startswith("max-age=0")
    row = Webhook.objects.get()
    assert (row.secret, row.kinds) == (secret, ["deposit"])
    assert send(browser, f"/account/webhooks/{row.pk}/test").status_code == 302
    assert run_jobs() == [("accounts.send_webhook", "done")]
    page = browser.get("/account").content.decode()
    assert secret not in page
    assert "Latest deliveries" in page
    rotated = send(browser, f"/account/webhooks/{row.pk}/secret").content.decode()
    assert Webhook.objects.get().secret in rotated
    send(browser, f"/account/webhooks/{row.pk}/off")
    assert not Webhook.objects.get().is_on
    send(browser, f"/account/webhooks/{row.pk}/on")
    assert Webhook.objects.get().is_on
    assert send(browser, f"/account/webhooks/{row.pk}/explode").status_code == 404
    send(browser, f"/account/webhooks/{row.pk}/delete")
    assert not Webhook.objects.exists()


def test_a_webhook_that_leads_inside_is_refused_at_its_field(browser):
    answer = send(browser, "/account/webhooks", {"url": "http://169.254.169.254/", "kinds": "deposit"})
    assert (answer.status_code, "not on the public internet" in answer.content.decode()) == (400, True)
    assert send(browser, "/account/webhooks", {"url": "http://93.184.216.34/"}).status_code == 400


def test_alerts_are_shown_with_their_markets_and_deleted(browser, mia, follow):
    from accounts.models import PriceAlert
    from accounts.notifications.alerts import set_alert

    market = WrittenMarket()
    follow()
    set_alert(user=mia, market=market.market_id, outcome="No", price_pips=4_250, direction="at_or_below")
    page = browser.get("/account").content.decode()
    assert "Will it?" in page
    assert "No at or below 42.5¢" in page
    assert send(browser, f"/account/price-alerts/{PriceAlert.objects.get().pk}/delete").status_code == 302
    assert not PriceAlert.objects.exists()


@pytest.mark.parametrize(
    "path", ["preferences", "email", "webhooks", "price-alerts/{id}/delete", "webhooks/{id}/delete"]
)
def test_forms_are_for_those_who_are_signed_in_and_sent_from_the_page(browser, path):
    path = f"/account/{path}".format(id="01920000-0000-7000-8000-000000000000")
    assert browser.post(path).status_code == 403
    assert Client().post(path)["Location"].startswith("/sign-in")
