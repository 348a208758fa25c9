"""Reads the process environment. What it lacks comes from DATA_DIR/runtime.env, which `manage.py up` keeps
while its embedded servers run, so that a command in another terminal finds them. Owns no setting itself."""

import ipaddress
import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from trading.connection import ImpatientConnection

BASE_DIR = Path(__file__).resolve().parent.parent.parent
RUNTIME_FILE = "runtime.env"
SECRET_KEY_FILE = "secret_key"  # noqa: S105  (a file's name)


def data_dir() -> Path:
    """Where the embedded servers and the processes write; relative paths count from the project's top."""
    return BASE_DIR / (os.environ.get("DATA_DIR") or ".data")


def folder(name: str, default: str) -> Path:
    """A folder of its own; relative paths count from the project's top, the default from DATA_DIR."""
    given = text(name)
    return BASE_DIR / given if given else data_dir() / default


def read_env_file(path: Path) -> dict[str, str]:
    """KEY=value lines of a file; empty if there is none or it may not be read."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    return dict(line.split("=", 1) for line in lines if "=" in line)


_RUNTIME = read_env_file(data_dir() / RUNTIME_FILE)


def text(name: str, default: str = "") -> str:
    """The variable, else what `up` wrote, else the default; an empty variable counts as unset."""
    return os.environ.get(name) or _RUNTIME.get(name) or default


def number(name: str, default: int) -> int:
    value = text(name, str(default))
    try:
        return int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}") from None


def flag(name: str, default: bool) -> bool:
    value = text(name, "1" if default else "0").lower()
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name} must be 1 or 0, not {value!r}")


def words(name: str, default: str = "") -> list[str]:
    """A list separated by commas."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def origin(value: str) -> str:
    """`scheme://host[:port]` of a full origin, in lower case; refuses a bare host name."""
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/"):
        raise ImproperlyConfigured(
            f"ALLOWED_ORIGINS needs full origins such as https://example.org, not {value!r}"
        )
    return f"{parts.scheme}://{parts.netloc}".lower()


def networks(name: str) -> list[str]:
    """Networks such as 10.0.0.0/8, separated by commas."""
    try:
        return [str(ipaddress.ip_network(word)) for word in words(name)]
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} must name networks such as 10.0.0.0/8: {error}") from None


def email(url: str) -> dict[str, Any]:
    """Django's settings of the mail backend at a URL."""
    backends = "django.core.mail.backends"
    parts = urlsplit(url)
    if parts.scheme == "file":
        return {
            "EMAIL_BACKEND": f"{backends}.filebased.EmailBackend",
            "EMAIL_FILE_PATH": str(BASE_DIR / parts.path),
        }
    if parts.scheme in {"console", "off"}:
        name = "console" if parts.scheme == "console" else "dummy"
        return {"EMAIL_BACKEND": f"{backends}.{name}.EmailBackend"}
    try:
        port = parts.port
    except ValueError:
        port = 0
    if parts.scheme not in {"smtp", "smtps", "smtp+tls"} or not parts.hostname or port == 0:
        # The URL may hold a password, so it is not repeated.
        raise ImproperlyConfigured(
            "EMAIL_URL must be such as smtp://user:password@host:25, file:mails or console:"
        )
    return {
        "EMAIL_BACKEND": f"{backends}.smtp.EmailBackend",
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": port or {"smtp": 25, "smtps": 465, "smtp+tls": 587}[parts.scheme],
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_SSL": parts.scheme == "smtps",
        "EMAIL_USE_TLS": parts.scheme == "smtp+tls",
        "EMAIL_TIMEOUT": 10,
    }


def secret_key_file() -> str:
    """The key that `up` made for this DATA_DIR; empty if there is none."""
    try:
        return (data_dir() / SECRET_KEY_FILE).read_text(encoding="ascii").strip()
    except OSError:
        return ""


def database(url: str, *, connect_timeout_s: int = 5) -> dict[str, Any]:
    """Django's settings of the PostgreSQL database at a libpq URL, with pool, timeouts and process name."""
    try:
        parts = conninfo_to_dict(url)
    except ProgrammingError as error:
        raise ImproperlyConfigured(f"the database URL is not one libpq understands: {error}") from None
    server_options = {
        "statement_timeout": number("STATEMENT_TIMEOUT_MS", 30_000),
        "transaction_timeout": number("TRANSACTION_TIMEOUT_MS", 5_000),
        "jit": "off",
    }
    given = str(parts.pop("options", "") or "")
    options: dict[str, Any] = {
        "application_name": f"pmarket-{text('PROCESS_NAME', 'process')}",
        "connect_timeout": connect_timeout_s,
        "options": " ".join(
            [given, *(f"-c {name}={value}" for name, value in server_options.items())]
        ).strip(),
    }
    settings: dict[str, Any] = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.pop("dbname", "pmarket"),
        "USER": parts.pop("user", ""),
        "PASSWORD": parts.pop("password", ""),
        "HOST": parts.pop("host", ""),
        "PORT": parts.pop("port", ""),
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {**options, **parts},
    }
    if pool := _pool():
        settings["OPTIONS"]["pool"] = pool
    return settings


def replica(url: str) -> dict[str, Any]:
    """The same for a replica: it is given up soon, since the primary answers too, and never written to.

    Its pool keeps no connections to a replica that is left out, and does not try long for one that is back.
    """
    settings = database(url, connect_timeout_s=2)  # One second would be taken for two.
    options = settings["OPTIONS"]
    options.setdefault("tcp_user_timeout", 2_000)
    options["options"] += " -c default_transaction_read_only=on"
    if "pool" in options:
        options["pool"] |= {
            "min_size": 0,
            "timeout": 1,
            "reconnect_timeout": 1,
            "connection_class": ImpatientConnection,
        }
    return settings


def _pool() -> dict[str, Any]:
    """psycopg's pool: 10 to 50 connections, an idle one closed after 300 s. DB_POOL_MAX=0 means no pool."""
    most = number("DB_POOL_MAX", 50)
    if most == 0:
        return {}
    return {
        "min_size": min(number("DB_POOL_MIN", 10), most),
        "max_size": most,
        "max_idle": 300,
        "timeout": 10,
    }
