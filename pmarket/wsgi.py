"""The `web` process: pages, admin and the whole API, on WSGI."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pmarket.settings")

from django.core.wsgi import get_wsgi_application

from pmarket.middleware import require_lasting_secret_key

require_lasting_secret_key()
application = get_wsgi_application()
