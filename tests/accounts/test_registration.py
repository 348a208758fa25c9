"""POST /register: who may come to be, and what comes with it."""

import pytest

from accounts.models import ApiKey, User
from tests.accounts.callers import PASSWORD, Caller, code_of
from trading import cash


def test_registering_gives_a_user_a_key_and_an_empty_account(nobody):
    answer = nobody.post("/register", {"username": "mia", "password": PASSWORD, "email": "mia@example.org"})
    assert answer.status_code == 201
    body = answer.json()
    user = User.objects.get(username="mia")
    assert (body["user_id"], body["username"]) == (str(user.pk), "mia")
    assert Caller(body["api_key"]).get("/account").json()["cash"] == "0.0000"
    key = ApiKey.objects.get(user=user)
    assert (key.scopes, body["api_key"].startswith(key.prefix)) == (["read", "trade"], True)


def test_the_key_itself_is_stored_nowhere(nobody):
    secret = nobody.post("/register", {"username": "mia", "password": PASSWORD}).json()["api_key"]
    row = ApiKey.objects.values().get()
    assert len(bytes(row["key_hash"])) == 32
    assert all(secret not in str(value) for value in row.values())


@pytest.mark.parametrize("name", ["mia", "MIA", "Mia"])
def test_a_taken_name_is_refused_whatever_its_case(nobody, name):
    nobody.post("/register", {"username": "Mia", "password": PASSWORD})
    answer = nobody.post("/register", {"username": name, "password": PASSWORD})
    assert code_of(answer) == (400, "invalid_request")
    assert answer.json()["errors"] == {"username": ["This username is taken."]}
    assert User.objects.count() == 1


def test_a_name_taken_between_look_and_insert_is_refused_too(nobody, monkeypatch):
    nobody.post("/register", {"username": "mia", "password": PASSWORD})
    monkeypatch.setattr("accounts.services._check_registration", lambda *args: None)
    assert code_of(nobody.post("/register", {"username": "MIA", "password": PASSWORD})) == (
        400,
        "invalid_request",
    )
    assert User.objects.count() == 1


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("username", {"username": "ab", "password": PASSWORD}),
        ("username", {"username": "a" * 65, "password": PASSWORD}),
        ("username", {"username": "has space", "password": PASSWORD}),
        ("username", {"username": "mia\n", "password": PASSWORD}),
        ("username", {"username": "zoë", "password": PASSWORD}),
        ("username", {"username": "<script>", "password": PASSWORD}),
        ("username", {"username": 12345, "password": PASSWORD}),
        ("username", {"username": 1.5, "password": PASSWORD}),
        ("username", {"username": True, "password": PASSWORD}),
        ("username", {"username": None, "password": PASSWORD}),
        ("username", {"username": ["mia"], "password": PASSWORD}),
        ("username", {"password": PASSWORD}),
        ("password", {"username": "mia"}),
        ("password", {"username": "mia", "password": "short"}),
        ("password", {"username": "mia", "password": "password"}),
        ("password", {"username": "mia-is-here", "password": "mia-is-here"}),
        ("password", {"username": "mia", "password": "x" * 300}),
        ("email", {"username": "mia", "password": PASSWORD, "email": "nonsense"}),
        ("is_staff", {"username": "mia", "password": PASSWORD, "is_staff": True}),
        ("request", []),
        ("request", "mia"),
    ],
)
def test_what_will_not_do_is_refused_with_its_field_and_makes_nobody(nobody, field, body):
    answer = nobody.post("/register", body)
    assert code_of(answer) == (400, "invalid_request")
    assert list(answer.json()["errors"]) == [field]
    assert not User.objects.exists()


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"username": "mia", "username": "max"}', b"\xff", b"[" * 1000, b'{"username": NaN}']
)
def test_a_malformed_body_is_an_invalid_request(nobody, body):
    assert code_of(nobody.post("/register", body)) == (400, "invalid_request")


def test_a_body_over_one_megabyte_is_413(nobody):
    body = b'{"username": "' + b"x" * 1_000_000 + b'"}'
    assert code_of(nobody.post("/register", body)) == (413, "invalid_request")


def test_every_way_to_make_a_user_opens_an_account(nobody):
    for user in (
        User.objects.create_user("one", "", PASSWORD),
        User.objects.create_superuser("two", "", PASSWORD),
    ):
        assert cash.account_balance(str(user.account_id))["cash_pips"] == 0


def test_a_superuser_made_in_the_admin_gets_an_account(client, nobody):
    from django.contrib.admin.sites import site
    from django.test import RequestFactory

    admin = site.get_model_admin(User)
    user = User(username="from-admin")
    admin.save_model(RequestFactory().post("/"), user, form=None, change=False)
    assert cash.account_balance(str(user.account_id))["cash_pips"] == 0
