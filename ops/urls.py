"""Paths of the probes. ops has none under the API."""

from django.urls import URLPattern, path

from ops import views

api_urlpatterns: list[URLPattern] = []

urlpatterns = [
    path("health", views.alive, name="health"),
    path("health/ready", views.ready, name="health-ready"),
    path("health/deep", views.deep, name="health-deep"),
    path("matching/health", views.matching, name="matching-health"),
    path("metrics", views.metrics, name="metrics"),
]
