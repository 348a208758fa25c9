"""The Celery application. Queues, from critical to low: settlement, market, notify, report."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pmarket.settings")

app = Celery("pmarket")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
