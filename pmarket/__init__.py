"""The composition root: settings, routes, and what each process kind is made of. No behaviour of its own."""

from pmarket.celery import app as celery_app

__all__ = ["celery_app"]
