"""The `live` process: the fast lane on HTTP, sockets at /ws/v1, on ASGI."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pmarket.settings")

import django

from pmarket.middleware import require_lasting_secret_key

require_lasting_secret_key()
django.setup()

from pmarket.live import build

application = build()
