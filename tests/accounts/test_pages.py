"""The account pages: sign-up, sign-in, sign-out, money, keys. Forms carry CSRF, links stay on this site."""

import re

import pytest
from django.db import connection
from django.test import Client
from django.utils.html import escape

from tests.accounts.callers import PASSWORD, Caller, code_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def browser():
    """A browser that checks CSRF as the server does."""
    return Client(enforce_csrf_checks=True)


def token_of(page):
    return re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.content.decode())[1]


def send(browser, path, form, *, page=None):
    """Open the page, then send a form from it."""
    return browser.post(path, {**form, "csrfmiddlewaretoken": token_of(browser.get(page or path))})


@pytest.fixture
def signed_in(browser):
    """A browser of the new user mia."""
    assert send(browser, "/sign-up", {"username": "mia", "password": PASSWORD}).status_code == 302
    return browser


def test_signing_up_signs_in_and_signing_out_ends_it(signed_in):
    page = signed_in.get("/account")
    assert page.status_code == 200
    assert "$0.00<" in page.content.decode()
    signed_in.post("/sign-out", {"csrfmiddlewaretoken": token_of(page)})
    answer = signed_in.get("/account")
    assert (answer.status_code, answer["Location"]) == (302, "/sign-in?next=/account")


def test_signing_in_leads_to_where_one_was_going(signed_in, browser):
    other = Client()
    answer = other.post("/sign-in", {"username": "MIA", "password": PASSWORD, "next": "/account"})
    assert (answer.status_code, answer["Location"]) == (302, "/account")


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example/", "javascript:alert(1)", "/\\evil.example"]
)
@pytest.mark.parametrize("path", ["/sign-in", "/sign-up"])
def test_nobody_is_sent_to_another_site(path, target, db):
    from accounts import services

    if path == "/sign-in":
        services.register(username="mia", password=PASSWORD)
    answer = Client().post(path, {"username": "mia", "password": PASSWORD, "next": target})
    assert (answer.status_code, answer["Location"]) == (302, "/")


def test_a_wrong_password_and_an_unknown_name_look_alike(signed_in):
    answers = [
        Client().post("/sign-in", {"username": name, "password": "wrong password"})
        for name in ("mia", "nobody")
    ]
    errors = [
        re.findall(r'<p class="notice error"[^>]*>(.*?)</p>', answer.content.decode()) for answer in answers
    ]
    assert errors[0] == errors[1]
    assert errors[0]


def test_a_form_without_its_token_is_refused(browser):
    assert browser.post("/sign-up", {"username": "mia", "password": PASSWORD}).status_code == 403


def test_what_will_not_do_is_said_at_its_field(browser):
    answer = send(browser, "/sign-up", {"username": "a b", "password": "12345"})
    assert answer.status_code == 400
    text = answer.content.decode()
    assert text.count('class="field-error"') >= 2
    assert "a b" in text
    assert "12345" not in text


def test_names_are_escaped(browser):
    answer = send(browser, "/sign-up", {"username": "<script>alert(1)</script>", "password": PASSWORD})
    assert b"<script>alert(1)</script>" not in answer.content


def test_money_moves_by_form_and_once_a_form(signed_in):
    page = signed_in.get("/account")
    ids = re.findall(r'name="(\w+)-client_id" value="([^"]+)"', page.content.decode())
    assert [kind for kind, _ in ids] == ["deposit", "withdraw"]
    form = {
        "deposit-amount": "$1,250.50",
        "deposit-client_id": ids[0][1],
        "csrfmiddlewaretoken": token_of(page),
    }
    for _ in range(2):
        assert signed_in.post("/account/deposit", form).status_code == 302
    page = signed_in.get("/account")
    assert "$1250.5000" in page.content.decode()
    answer = send(
        signed_in,
        "/account/withdraw",
        {"withdraw-amount": "9999", "withdraw-client_id": ids[1][1]},
        page="/account",
    )
    assert answer.status_code == 400
    assert "exceeds_available_cash" in answer.content.decode()
    assert ids[1][1] not in answer.content.decode(), "a refused id is used up"


@pytest.mark.parametrize("amount", ["", "abc", "-1", "0", "1e3", "0.00001", "\uff11"])
def test_an_amount_that_is_none_is_refused_on_the_page(signed_in, amount):
    form = {"deposit-amount": amount, "deposit-client_id": "x-1"}
    assert send(signed_in, "/account/deposit", form, page="/account").status_code == 400


def test_a_key_is_shown_once_and_works_until_revoked(signed_in):
    form = {"name": "bot <1>", "scopes": ["read", "trade"], "expires_in_days": "30"}
    answer = send(signed_in, "/account/keys", form, page="/account")
    key = re.search(r"data-api-key>(pm_[\w-]+)<", answer.content.decode())[1]
    assert "no-store" in answer["Cache-Control"]
    assert Caller(key).get("/account").status_code == 200
    page = signed_in.get("/account").content.decode()
    assert key not in page
    assert escape("bot <1>") in page
    revoke = re.search(r'action="(/account/keys/[^"]+/revoke)"', page)[1]
    assert send(signed_in, revoke, {}, page="/account").status_code == 302
    assert code_of(Caller(key).get("/account")) == (401, "not_authenticated")


def test_the_page_gives_no_admin_scope_to_a_trader(signed_in):
    assert 'value="admin"' not in signed_in.get("/account").content.decode()
    form = {"name": "x", "scopes": ["read", "admin"], "expires_in_days": "30"}
    assert send(signed_in, "/account/keys", form, page="/account").status_code == 400


def test_the_api_takes_the_session_only_with_its_csrf_token(signed_in):
    path, body = "/api/v1/account/deposit", b'{"amount": "5"}'
    assert signed_in.get("/api/v1/account").json()["cash"] == "0.0000"
    answer = signed_in.post(path, body, content_type="application/json")
    assert code_of(answer) == (403, "permission_denied")
    token = token_of(signed_in.get("/account"))
    answer = signed_in.post(path, body, content_type="application/json", headers={"x-csrftoken": token})
    assert answer.status_code == 201


def test_a_bad_key_is_401_even_with_a_session(signed_in):
    answer = signed_in.get("/api/v1/account", headers={"authorization": "Bearer pm_bad"})
    assert code_of(answer) == (401, "not_authenticated")


def test_a_session_gets_a_ticket(signed_in):
    from accounts import tickets
    from accounts.models import User

    token = token_of(signed_in.get("/account"))
    answer = signed_in.post(
        "/api/v1/ws-ticket", content_type="application/json", headers={"x-csrftoken": token}
    )
    assert answer.status_code == 201
    principal = tickets.redeem(answer.json()["ticket"])
    user = User.objects.get()
    assert (principal.account_id, principal.key_id) == (str(user.account_id), None)


def test_a_minute_has_only_so_many_attempts(settings, client, monkeypatch):
    from django.core.cache import cache

    # A window must not end between two of the attempts.
    monkeypatch.setattr("django_ratelimit.core.time.time", lambda: 1_800_000_000.0)
    cache.clear()
    settings.THROTTLE = True
    codes = [
        client.post("/sign-in", {"username": f"n{number}", "password": "x"}).status_code
        for number in range(25)
    ]
    assert codes == sorted(codes)
    assert (codes[0], codes[-1]) == (200, 429)
    assert client.get("/sign-in").status_code == 200
    codes = [client.post("/sign-up", {"username": "x", "password": "x"}).status_code for number in range(15)]
    assert (codes[0], codes[-1]) == (400, 429)
    cache.clear()


def test_forms_still_work_when_the_cache_does_not(settings, client):
    from accounts import services

    settings.THROTTLE = True
    settings.CACHES = {
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": "redis://127.0.0.1:1/0",
            "OPTIONS": {"IGNORE_EXCEPTIONS": True},
        }
    }
    services.register(username="mia", password=PASSWORD)
    answer = client.post("/sign-in", {"username": "mia", "password": PASSWORD})
    assert answer.status_code == 302


def test_the_account_page_lists_the_latest_changes_of_cash(signed_in):
    from accounts.models import User

    assert "No changes yet" in signed_in.get("/account").content.decode()
    account_id = User.objects.get().account_id
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO account_ledger VALUES (%s, 750000, 2, now())", [account_id])
        cursor.execute(
            "INSERT INTO ledger_entry (account_id, at, slot, leg, slot_offset, amount_pips, kind) VALUES "
            "(%s, now(), 20, 0, 7, 1000000, 'deposit'), (%s, now(), 20, 0, 8, -250000, 'withdrawal')",
            [account_id, account_id],
        )
    page = signed_in.get("/account").content.decode()
    assert "No changes yet" not in page
    assert re.findall(r"<strong>(Deposit|Withdrawal)</strong>", page) == ["Withdrawal", "Deposit"]
    assert "−$25.00" in page
    assert re.findall(r'data-label="Cash after">([^<]+)<', page) == ["$75.00", "$100.00"]


def test_every_kind_of_change_has_words():
    from accounts.selectors import ENTRY_TITLES
    from trading.projections.ledger import KINDS

    assert tuple(ENTRY_TITLES) == KINDS
