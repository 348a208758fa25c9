"""Routes: the API under /api/v1, its document, probes, pages and the admin."""

from django.urls import URLPattern, URLResolver

urlpatterns: list[URLPattern | URLResolver] = []
