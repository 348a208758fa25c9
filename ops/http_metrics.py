"""HTTP requests as metrics: how many, how long and how they ended, by view and method.

django-prometheus counts each request in twelve series, which costs as much as a remembered answer does; these are the
ones that say something.
"""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django_prometheus.middleware import PrometheusAfterMiddleware
from django_prometheus.utils import Time, TimeSince


class HttpMetricsMiddleware(PrometheusAfterMiddleware):
    """In place of PrometheusAfterMiddleware, whose exceptions' counters stay as they are."""

    def process_request(self, request: HttpRequest) -> None:
        """Starts the clock."""
        request.prometheus_after_middleware_event = Time()  # type: ignore[attr-defined]

    def process_view(self, request: HttpRequest, *_: Any, **__: Any) -> None:
        """The view is counted with its answer."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Counts the answer, and how long it took."""
        method, view = self._method(request), self._get_view_name(request)
        status, metrics = str(response.status_code), self.metrics
        metrics.responses_by_status_view_method.labels(status, view, method).inc()
        metrics.requests_latency_by_view_method.labels(view, method).observe(
            TimeSince(request.prometheus_after_middleware_event)  # type: ignore[attr-defined]
        )
        return response
