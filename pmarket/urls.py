"""Routes: the API under /api/v1, its document, probes, pages and the admin."""

import sys

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, include, path
from django.views.defaults import page_not_found, server_error
from drf_spectacular.views import SpectacularAPIView, SpectacularRedocView, SpectacularSwaggerView
from rest_framework.permissions import SAFE_METHODS

from accounts import urls as account_urls
from markets import urls as market_urls
from ops import urls as ops_urls
from trading.api import urls as trading_urls
from trading.api.errors import problem_response
from trading.errors import ExchangeError, InternalError, NotFound, OutcomeUnknown, Unreachable
from trading.outage import OUTAGES

# Markets first: the list of them is what is asked for most, and routes are tried in order.
APPS = (market_urls, trading_urls, account_urls, ops_urls)


def api_not_found(request: HttpRequest, rest: str = "") -> HttpResponse:
    return problem_response(NotFound("There is no such path."), request)


def _for_programs(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")


def handler404(request: HttpRequest, exception: Exception) -> HttpResponse:
    return api_not_found(request) if _for_programs(request) else page_not_found(request, exception)


def handler500(request: HttpRequest) -> HttpResponse:
    """An outage that met middleware or a page, or a bug. What was written may be done, whatever failed after it."""
    error: ExchangeError = InternalError()
    if isinstance(sys.exception(), OUTAGES):
        error = Unreachable() if request.method in SAFE_METHODS else OutcomeUnknown()
    if _for_programs(request):
        return problem_response(error, request)
    response = server_error(request, "500.html" if isinstance(error, InternalError) else "503.html")
    response.status_code = error.status
    for name, value in error.headers.items():
        response[name] = value
    return response


urlpatterns: list[URLPattern | URLResolver] = [
    path("api/v1/", include([pattern for app in APPS for pattern in app.api_urlpatterns])),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerView.as_view(url_name="schema"), name="api-docs"),
    path("api/redoc/", SpectacularRedocView.as_view(url_name="schema"), name="api-redoc"),
    path("admin/", admin.site.urls),
    *(pattern for app in APPS for pattern in app.urlpatterns),
]
