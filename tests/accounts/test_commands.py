"""The commands that make users and keys, and what the OpenAPI document says of accounts."""

from io import StringIO

import pytest
from django.contrib.auth import authenticate
from django.core.management import call_command
from django.core.management.base import CommandError

from tests.accounts.callers import PASSWORD, Caller

pytestmark = pytest.mark.django_db


def output_of(*command, **options):
    out = StringIO()
    call_command(*command, stdout=out, **options)
    return out.getvalue()


def test_the_demo_has_its_users_however_often_it_is_seeded(settings):
    from accounts.models import User
    from trading.cash import account_balance

    settings.DEMO = True
    for _ in range(2):
        output_of("seed_users")
    assert list(User.objects.order_by("id").values_list("username", "is_superuser")) == [
        ("admin", True),
        ("alice", False),
        ("bob", False),
    ]
    for user in User.objects.all():
        assert authenticate(username=user.username, password="demo-pmarket") == user
        cash_pips = account_balance(str(user.account_id))["cash_pips"]
        assert cash_pips == (0 if user.is_superuser else 10_000_000)


def test_an_empty_exchange_gets_the_superuser_of_its_environment(settings, monkeypatch):
    from accounts.models import User

    settings.DEMO = False
    monkeypatch.delenv("ADMIN_USERNAME", raising=False)
    with pytest.raises(CommandError, match="ADMIN_USERNAME"):
        output_of("seed_users")
    monkeypatch.setenv("ADMIN_USERNAME", "root")
    monkeypatch.setenv("ADMIN_PASSWORD", PASSWORD)
    for _ in range(2):
        output_of("seed_users")
    assert User.objects.get().is_superuser
    monkeypatch.delenv("ADMIN_USERNAME")
    assert "exists" in output_of("seed_users")


def test_an_operator_makes_a_key_and_sees_only_the_key(settings):
    settings.DEMO = True
    output_of("seed_users")
    key = output_of("create_api_key", "admin", "--scopes", "read,trade,admin").strip()
    assert key.startswith("pm_")
    assert Caller(key).get("/keys").json()["results"][0]["scopes"] == ["read", "trade", "admin"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nobody"], "no user"),
        (["alice", "--scopes", "everything"], "scopes are"),
        (["alice", "--scopes", ""], "scopes are"),
        (["alice", "--scopes", "admin"], "staff"),
        (["alice", "--days", "0"], "days"),
    ],
)
def test_a_key_that_cannot_be_made_is_an_error(settings, arguments, message):
    settings.DEMO = True
    output_of("seed_users")
    with pytest.raises(CommandError, match=message):
        output_of("create_api_key", *arguments)


def test_the_document_tells_of_every_path_with_its_errors():
    from drf_spectacular.generators import SchemaGenerator
    from drf_spectacular.validation import validate_schema

    schema = SchemaGenerator(urlconf="tests.accounts.urls").get_schema(request=None, public=True)
    validate_schema(schema)
    assert schema["paths"].keys() == {
        f"/api/v1/{path}"
        for path in (
            "register", "keys", "keys/{key_id}", "account", "account/deposit", "account/withdraw", "account/statement",
            "leaderboard", "ws-ticket", "notifications", "notifications/read", "notification-preferences",
            "price-alerts", "price-alerts/{alert_id}", "webhooks", "webhooks/{webhook_id}",
            "webhooks/{webhook_id}/secret", "webhooks/{webhook_id}/test", "webhooks/{webhook_id}/deliveries",
        )
    }  # fmt: skip
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], (path, method)
            assert "application/problem+json" in operation["responses"]["429"]["content"], (path, method)
    assert schema["components"]["securitySchemes"].keys() == {"apiKey", "session"}
    assert schema["components"]["schemas"]["MoneyRequest"]["properties"]["amount"]["type"] == "string"
