"""The `web` process: pages, admin and the whole API, on WSGI."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pmarket.settings")

from collections.abc import Callable, Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

from pmarket.middleware import require_lasting_secret_key
from trading.garbage import collect_rarely
from trading.strict_json import MAX_BODY_BYTES

require_lasting_secret_key()
_django = get_wsgi_application()
_ = get_resolver().url_patterns  # every view is imported now, not by the first request
collect_rarely()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Django, and the rest of a body that it refused unread: the server cuts a connection that has one under way,
    and a client that goes on with it, as it may after a 401 or 429, would lose its next request."""
    answer = _django(environ, start_response)
    length = environ.get("CONTENT_LENGTH") or "0"
    if length.isdigit() and 0 < int(length) <= MAX_BODY_BYTES:
        environ["wsgi.input"].read(int(length))
    return answer
