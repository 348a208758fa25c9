"""The Celery application. Its queues are in trading/jobs/queues.py, each with workers of its own (Procfile)."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pmarket.settings")

app = Celery("pmarket", task_cls="trading.jobs.periodic:PeriodicTask")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# Apps keep their jobs (trading/jobs) in these or among their tasks.
app.autodiscover_tasks(related_name="jobs")
