"""What the environment makes of the settings."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from pmarket.settings import environment
from pmarket.settings.logs import OneLine, logging_config

PROJECT = Path(__file__).resolve().parents[2]


def settings_under(tmp_path: Path, expression: str, **variables: str) -> Any:
    """The value of an expression over `settings` in a fresh process with these variables alone."""
    program = f"import json\nfrom django.conf import settings\nprint(json.dumps({expression}, default=str))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PROJECT,
        env={
            "PATH": os.environ["PATH"],
            "DJANGO_SETTINGS_MODULE": "pmarket.settings",
            "DATA_DIR": str(tmp_path),
            **variables,
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_database_url_becomes_a_pool_with_timeouts(tmp_path: Path) -> None:
    database = settings_under(
        tmp_path,
        "settings.DATABASES['default']",
        DATABASE_URL="postgresql://me:p%40ss@/shop?host=%2Frun%2Fpg&port=6000",
    )
    assert (database["NAME"], database["USER"], database["PASSWORD"]) == ("shop", "me", "p@ss")
    assert (database["HOST"], database["PORT"], database["CONN_MAX_AGE"]) == ("/run/pg", "6000", 0)
    pool = database["OPTIONS"]["pool"]
    assert (pool["min_size"], pool["max_size"], pool["max_idle"]) == (10, 50, 300)
    assert "-c statement_timeout=30000 -c transaction_timeout=5000" in database["OPTIONS"]["options"]


def test_valkeys_urls_default_to_the_one_and_can_each_be_given(tmp_path: Path) -> None:
    urls = "[settings.VALKEY_URL, settings.CACHE_URL, settings.BROKER_URL, settings.FEED_URL]"
    one, other = "redis://one:1/0", "redis://other:1/0"
    assert settings_under(tmp_path, urls, VALKEY_URL=one) == [one] * 4
    assert settings_under(tmp_path, urls, VALKEY_URL=one, FEED_URL=other) == [one, one, one, other]


def test_a_running_up_is_found_by_its_note_and_the_environment_goes_first(tmp_path: Path) -> None:
    (tmp_path / "runtime.env").write_text("VALKEY_URL=redis://noted:1/0\nPORT=9000\n")
    assert settings_under(tmp_path, "[settings.VALKEY_URL, settings.PORT]") == ["redis://noted:1/0", 9000]
    assert settings_under(tmp_path, "settings.PORT", PORT="9001") == 9001


def test_own_origins_are_allowed_and_more_can_be_named(tmp_path: Path) -> None:
    allowed = settings_under(
        tmp_path,
        "settings.ALLOWED_ORIGINS",
        PORT="8100",
        ALLOWED_ORIGINS="https://Exchange.example, http://b:81",
    )
    assert allowed == [
        "http://localhost:8100",
        "http://127.0.0.1:8100",
        "https://exchange.example",
        "http://b:81",
    ]


@pytest.mark.parametrize(
    "value", ["exchange.example", "ftp://exchange.example", "https://exchange.example/path"]
)
def test_an_origin_must_be_a_full_one(value: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="full origins"):
        environment.origin(value)


def test_the_defaults_are_those_of_the_contract(tmp_path: Path) -> None:
    names = (
        "PORT",
        "WS_PORT",
        "DEBUG",
        "DEMO",
        "ENGINES",
        "THROTTLE",
        "RESOLUTION_APPROVALS",
        "DISPUTE_WINDOW_S",
    )
    values = settings_under(tmp_path, f"[getattr(settings, name) for name in {names}]")
    assert values == [8000, 8001, False, True, 1, True, 0, 0]
    assert settings_under(tmp_path, "settings.FAUCET_LIMIT_PIPS") == 10_000_000_000


@pytest.mark.parametrize("process", ["pmarket.wsgi", "pmarket.asgi"])
def test_serving_without_a_lasting_secret_key_is_refused(tmp_path: Path, process: str) -> None:
    environment_of_it = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", f"import {process}"],
        cwd=PROJECT,
        env=environment_of_it,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "SECRET_KEY is not set" in done.stderr


def test_https_makes_cookies_secure_and_plain_http_does_not(tmp_path: Path) -> None:
    cookies = "[settings.SESSION_COOKIE_SECURE, settings.CSRF_COOKIE_SECURE, settings.SECURE_SSL_REDIRECT]"
    assert settings_under(tmp_path, cookies) == [False] * 3
    assert settings_under(tmp_path, cookies, HTTPS="1") == [True] * 3


def test_replicas_are_given_up_soon_and_never_written_to(tmp_path: Path) -> None:
    shown = settings_under(
        tmp_path,
        "[settings.REPLICAS, settings.REPLICA_MAX_LAG_S, *(settings.DATABASES[each] for each in settings.REPLICAS)]",
        DATABASE_URL="postgresql://primary/shop",
        REPLICA_URLS="postgresql://one/shop, postgresql://two/shop?connect_timeout=7",
        REPLICA_MAX_LAG="5",
    )
    names, max_lag_s, one, two = shown
    assert (names, max_lag_s) == (["replica_0", "replica_1"], 5)
    assert (one["HOST"], two["HOST"]) == ("one", "two")
    pool = one["OPTIONS"]["pool"]
    assert (pool["min_size"], pool["timeout"], pool["reconnect_timeout"]) == (0, 1, 1)
    assert "-c default_transaction_read_only=on" in one["OPTIONS"]["options"]
    assert (one["OPTIONS"]["connect_timeout"], two["OPTIONS"]["connect_timeout"]) == (2, "7")


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("console:", {"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"}),
        ("off:", {"EMAIL_BACKEND": "django.core.mail.backends.dummy.EmailBackend"}),
        ("file:/var/mails", {"EMAIL_FILE_PATH": "/var/mails"}),
        ("smtp://mail.example", {"EMAIL_HOST": "mail.example", "EMAIL_PORT": 25, "EMAIL_USE_TLS": False}),
        (
            "smtp+tls://me:p%40ss@mail.example",
            {"EMAIL_PORT": 587, "EMAIL_USE_TLS": True, "EMAIL_HOST_PASSWORD": "p@ss"},
        ),
        ("smtps://mail.example:4650", {"EMAIL_PORT": 4650, "EMAIL_USE_SSL": True, "EMAIL_USE_TLS": False}),
    ],
)
def test_the_mail_url_becomes_a_backend(url: str, wanted: dict[str, Any]) -> None:
    assert environment.email(url).items() >= wanted.items()


@pytest.mark.parametrize(
    "url", ["smtp://", "mail.example", "http://mail.example", "smtp://mail.example:x", "smtp://u:secret@"]
)
def test_a_mail_url_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ImproperlyConfigured) as refused:
        environment.email(url)
    assert "secret" not in str(refused.value)


def test_networks_that_may_be_called_are_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTSIDE_ALLOW", "10.0.0.0/8, ::1")
    assert environment.networks("OUTSIDE_ALLOW") == ["10.0.0.0/8", "::1/128"]
    monkeypatch.setenv("OUTSIDE_ALLOW", "10.0.0.1/8")
    with pytest.raises(ImproperlyConfigured, match="OUTSIDE_ALLOW"):
        environment.networks("OUTSIDE_ALLOW")


def test_links_in_mails_lead_to_the_first_origin_that_was_given(tmp_path: Path) -> None:
    assert settings_under(tmp_path, "settings.SITE_URL", PORT="9000") == "http://localhost:9000"
    origins = {"ALLOWED_ORIGINS": "https://a.example,https://b.example"}
    assert settings_under(tmp_path, "settings.SITE_URL", **origins) == "https://a.example"
    assert (
        settings_under(tmp_path, "settings.SITE_URL", SITE_URL="https://c.example", **origins)
        == "https://c.example"
    )


def test_what_beat_could_not_send_is_one_line_without_a_stack() -> None:
    record = logging.LogRecord(
        "celery.beat", logging.ERROR, "beat.py", 1, "Message Error: %s\n%s", ("refused", "stack"), None
    )
    record.exc_info = (OSError, OSError("refused"), None)
    assert OneLine().filter(record)
    assert (record.getMessage(), record.exc_info) == ("Message Error: refused", None)
    configured = logging_config(style="json", level="INFO", requests=False)["loggers"]["celery.beat"]
    assert configured == {"filters": ["one_line"]}
