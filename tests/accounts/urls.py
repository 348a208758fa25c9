"""The paths of accounts alone, where they stand in the exchange: these tests need no other app's views."""

from django.http import HttpResponse
from django.urls import include, path

from accounts.urls import api_urlpatterns
from accounts.urls import urlpatterns as page_urlpatterns

urlpatterns = [
    path("api/v1/", include(api_urlpatterns)),
    path("", include(page_urlpatterns)),
    path("", lambda request: HttpResponse("front page")),
]
