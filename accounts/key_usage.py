"""When a key was last used: noted in memory, written by one background thread, at most once a minute and key.

A request only touches a dict. A crash loses at most a minute of "last used", which nothing depends on.
"""

import datetime as dt
import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor

from django.db import connection
from django.db.models import Q

from accounts.models import ApiKey

WRITE_EVERY_SECONDS = 60.0
MAX_REMEMBERED = 50_000

logger = logging.getLogger(__name__)
_noted_at: dict[str, float] = {}
_writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="key-usage")


def note_use(key_id: str) -> Future[None] | None:
    """Note that a key was used now. Returns the write it caused, or None if one was made within the minute."""
    now = time.monotonic()
    if now - _noted_at.get(key_id, -WRITE_EVERY_SECONDS) < WRITE_EVERY_SECONDS:
        return None
    if len(_noted_at) >= MAX_REMEMBERED:
        _noted_at.clear()
    _noted_at[key_id] = now
    return _writer.submit(_write, key_id, dt.datetime.now(dt.UTC))


def _write(key_id: str, moment: dt.datetime) -> None:
    # Other processes note the same key: the condition keeps them to one write a minute together.
    due = Q(last_used_at__isnull=True) | Q(
        last_used_at__lt=moment - dt.timedelta(seconds=WRITE_EVERY_SECONDS)
    )
    try:
        ApiKey.objects.filter(due, id=key_id).update(last_used_at=moment)
    except Exception:
        # A lost note harms nothing; the request it belongs to went on long ago.
        logger.warning("the last use of an API key was not written", exc_info=True)
    finally:
        connection.close()
