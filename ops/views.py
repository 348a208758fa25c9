"""The probes as HTTP: 200 when all is well, 503 when not; none of them needs a credential or tells a secret."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from django_prometheus.exports import ExportToDjangoView

from ops import health


@require_safe
def alive(request: HttpRequest) -> HttpResponse:
    """The process answers; nothing else is looked at."""
    return JsonResponse({"status": health.OK})


@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    return _answer(health.readiness())


@require_safe
def deep(request: HttpRequest) -> HttpResponse:
    return _answer(health.deep())


@require_safe
def matching(request: HttpRequest) -> HttpResponse:
    return _answer(health.matching())


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    health.update_gauges()
    response: HttpResponse = ExportToDjangoView(request)
    return response


def _answer(report: health.Report) -> HttpResponse:
    response = JsonResponse(report, status=200 if report["status"] == health.OK else 503)
    response["Cache-Control"] = "no-store"
    return response
