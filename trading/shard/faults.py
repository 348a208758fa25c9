"""What can go wrong around a batch that is no fault of its commands."""

import psycopg
import redis


class SlotLost(Exception):
    """Another owner has raised the epoch of a slot this process believed its own."""


class TooLate(Exception):
    """Commands were being reserved when their deadline passed."""


# transaction_timeout, idle_in_transaction_session_timeout, and a primary that has become a standby.
_OUTAGE_STATES = frozenset({"25P03", "25P04", "25006"})
_OUTAGE_CLASSES = frozenset({"08", "53", "57"})  # connection, resources, an operator's intervention


class ClaimGone(Exception):
    """A key was claimed by another's batch, which has been given back since: nothing has happened under it."""


def is_outage(error: Exception) -> bool:
    """Whether an error says something of a server or of time, and nothing of the commands at work."""
    if isinstance(error, psycopg.OperationalError | redis.RedisError | SlotLost | TooLate | ClaimGone):
        return True
    state = error.sqlstate or "" if isinstance(error, psycopg.Error) else ""
    return state in _OUTAGE_STATES or state[:2] in _OUTAGE_CLASSES
