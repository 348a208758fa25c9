"""The notification API under /api/v1: preferences, price alerts, webhooks. Thin."""

import uuid

from django.views.decorators.debug import sensitive_variables
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.lists import DELIVERIES, PRICE_ALERTS, page_of
from accounts.models import User, Webhook
from accounts.notification_serializers import (
    FreshWebhookSerializer,
    PreferencesRequestSerializer,
    PreferencesSerializer,
    PriceAlertListSerializer,
    PriceAlertRequestSerializer,
    PriceAlertSerializer,
    WebhookChangeSerializer,
    WebhookDeliveryListSerializer,
    WebhookDeliverySerializer,
    WebhookListSerializer,
    WebhookRequestSerializer,
    WebhookSerializer,
    WebhookTestSerializer,
)
from accounts.notifications import addresses, alerts, preferences, webhooks
from accounts.permissions import CanRead, CanTrade
from trading.api.query import CURSOR, LIMIT, Query
from trading.api.schema import problems
from trading.errors import NotFound
from trading.market_terms import market_terms
from trading.principal import require_principal

TAGS = ["notifications"]
NO_STORE = {"Cache-Control": "no-store"}


class _OwnView(APIView):
    """What is the caller's own: reading takes the scope `read`, changing it `trade`."""

    def get_permissions(self) -> list[CanRead | CanTrade]:
        return [CanRead()] if self.request.method in ("GET", "HEAD", "OPTIONS") else [CanTrade()]


class PreferencesView(_OwnView):
    """Who is told what."""

    @extend_schema(
        tags=TAGS,
        summary="Read the notification preferences",
        description="Every kind with its channels.",
        responses={200: PreferencesSerializer, **problems(401, 403)},
    )
    def get(self, request: Request) -> Response:
        return Response(_preferences(_user(request)))

    @extend_schema(
        tags=TAGS,
        summary="Change the notification preferences",
        description="What is not named stays as it is. A `digest` gathers e-mails: one an hour or a day.",
        request=PreferencesRequestSerializer,
        responses={200: PreferencesSerializer, **problems(400, 401, 403)},
    )
    def patch(self, request: Request) -> Response:
        wanted = PreferencesRequestSerializer.of(request).validated_data
        user = _user(request)
        preferences.change(str(user.account_id), cells=wanted.get("kinds"), digest=wanted.get("digest"))
        return Response(_preferences(user))


class PriceAlertsView(_OwnView):
    """The caller's price alerts."""

    @extend_schema(
        tags=TAGS,
        summary="List price alerts",
        description="Newest first; spent ones, with `fired_at`, are kept for 30 days.",
        parameters=[
            LIMIT,
            CURSOR,
            OpenApiParameter("market_id", str, description="only this market, by id or slug"),
        ],
        responses={200: PriceAlertListSerializer, **problems(400, 401, 403, 404)},
    )
    def get(self, request: Request) -> Response:
        query = Query(request, "limit", "cursor", "market_id")
        found = alerts.alerts_of(_account_id(request))
        if (market := query.text("market_id")) is not None:
            found = found.filter(market_id=market_terms(market).market_id)
        page = page_of(found, query, PRICE_ALERTS)
        return Response({"results": PriceAlertSerializer(page.rows, many=True).data, "next": page.next})

    @extend_schema(
        tags=TAGS,
        summary="Set a price alert",
        description="Fires once, with the first trade after this at or beyond the price; then it is spent. "
        "Over 50 that wait: 422 `exceeds_limits`.",
        request=PriceAlertRequestSerializer,
        responses={201: PriceAlertSerializer, **problems(400, 401, 403, 404, 422)},
    )
    def post(self, request: Request) -> Response:
        wanted = PriceAlertRequestSerializer.of(request).validated_data
        alert = alerts.set_alert(
            user=_user(request),
            market=wanted["market"],
            outcome=wanted["outcome"],
            price_pips=wanted["price"],
            direction=wanted["direction"],
        )
        return Response(PriceAlertSerializer(alert).data, status=status.HTTP_201_CREATED)


class PriceAlertView(_OwnView):
    """One of the caller's price alerts."""

    @extend_schema(
        tags=TAGS,
        summary="Delete a price alert",
        parameters=[OpenApiParameter("alert_id", uuid.UUID, OpenApiParameter.PATH)],
        responses={204: None, **problems(401, 403, 404)},
    )
    def delete(self, request: Request, alert_id: str) -> Response:
        alerts.delete_alert(account_id=_account_id(request), alert_id=_id(alert_id))
        return Response(status=status.HTTP_204_NO_CONTENT)


class WebhooksView(_OwnView):
    """The caller's endpoints."""

    @extend_schema(
        tags=TAGS,
        summary="List webhooks",
        description="Without their secrets.",
        responses={200: WebhookListSerializer, **problems(401, 403)},
    )
    def get(self, request: Request) -> Response:
        rows = webhooks.webhooks_of(_account_id(request))
        return Response({"results": WebhookSerializer(rows, many=True).data, "next": None})

    @extend_schema(
        tags=TAGS,
        summary="Register a webhook",
        description="`secret` is shown this once. Deliveries carry `X-Pmarket-Delivery`, the same in each try, and "
        "`X-Pmarket-Signature: t=TIME,v1=HEX`: the HMAC-SHA256 by the secret of TIME, a dot and the body. The URL "
        "leads to the public internet, at port 80, 443 or from 1024 on. Over 5: 422 `exceeds_limits`.",
        request=WebhookRequestSerializer,
        responses={201: FreshWebhookSerializer, **problems(400, 401, 403, 422)},
    )
    @sensitive_variables()
    def post(self, request: Request) -> Response:
        wanted = WebhookRequestSerializer.of(request).validated_data
        made = webhooks.create(user=_user(request), url=wanted["url"], kinds=wanted["kinds"])
        return _with_secret(made, status.HTTP_201_CREATED)


_WEBHOOK_ID = OpenApiParameter("webhook_id", uuid.UUID, OpenApiParameter.PATH)


class WebhookView(_OwnView):
    """One of the caller's endpoints."""

    @extend_schema(
        tags=TAGS,
        summary="Read a webhook",
        operation_id="webhooks_retrieve_one",
        parameters=[_WEBHOOK_ID],
        responses={200: WebhookSerializer, **problems(401, 403, 404)},
    )
    def get(self, request: Request, webhook_id: str) -> Response:
        return Response(WebhookSerializer(_webhook(request, webhook_id)).data)

    @extend_schema(
        tags=TAGS,
        summary="Change a webhook",
        description="What is not named stays as it is. `is_on` switches one on again that had failed for 3 days.",
        parameters=[_WEBHOOK_ID],
        request=WebhookChangeSerializer,
        responses={200: WebhookSerializer, **problems(400, 401, 403, 404)},
    )
    def patch(self, request: Request, webhook_id: str) -> Response:
        identifier = _id(webhook_id)
        wanted = WebhookChangeSerializer.of(request).validated_data
        changed = webhooks.change(account_id=_account_id(request), webhook_id=identifier, **wanted)
        return Response(WebhookSerializer(changed).data)

    @extend_schema(
        tags=TAGS,
        summary="Delete a webhook",
        description="With its log; what waits to be delivered is dropped.",
        parameters=[_WEBHOOK_ID],
        responses={204: None, **problems(401, 403, 404)},
    )
    def delete(self, request: Request, webhook_id: str) -> Response:
        webhooks.delete(account_id=_account_id(request), webhook_id=_id(webhook_id))
        return Response(status=status.HTTP_204_NO_CONTENT)


class WebhookSecretView(_OwnView):
    """A new secret."""

    @extend_schema(
        tags=TAGS,
        summary="Rotate a webhook's secret",
        description="The new `secret` is shown this once. For 24 hours deliveries are signed with each of the two.",
        parameters=[_WEBHOOK_ID],
        request=None,
        responses={200: FreshWebhookSerializer, **problems(401, 403, 404)},
    )
    @sensitive_variables()
    def post(self, request: Request, webhook_id: str) -> Response:
        rotated = webhooks.rotate_secret(account_id=_account_id(request), webhook_id=_id(webhook_id))
        return _with_secret(rotated, status.HTTP_200_OK)


class WebhookTestView(_OwnView):
    """A delivery to try an endpoint with."""

    @extend_schema(
        tags=TAGS,
        summary="Send a test to a webhook",
        description="Once in 10 seconds, one try. What became of it is in the log of deliveries.",
        parameters=[_WEBHOOK_ID],
        request=None,
        responses={202: WebhookTestSerializer, **problems(401, 403, 404)},
    )
    def post(self, request: Request, webhook_id: str) -> Response:
        delivery = webhooks.send_test(account_id=_account_id(request), webhook_id=_id(webhook_id))
        return Response({"delivery": delivery}, status=status.HTTP_202_ACCEPTED)


class WebhookDeliveriesView(_OwnView):
    """The log of an endpoint."""

    @extend_schema(
        tags=TAGS,
        summary="List a webhook's deliveries",
        description="Each try of the last 30 days, newest first.",
        parameters=[_WEBHOOK_ID, LIMIT, CURSOR],
        responses={200: WebhookDeliveryListSerializer, **problems(400, 401, 403, 404)},
    )
    def get(self, request: Request, webhook_id: str) -> Response:
        found = webhooks.deliveries_of(_webhook(request, webhook_id))
        page = page_of(found, Query(request, "limit", "cursor"), DELIVERIES)
        return Response({"results": WebhookDeliverySerializer(page.rows, many=True).data, "next": page.next})


def _preferences(user: User) -> dict[str, object]:
    grid, digest = preferences.grid_of(str(user.account_id))
    return {
        "kinds": grid,
        "digest": digest,
        "email": user.email,
        "email_confirmed": addresses.is_confirmed(user),
    }


def _with_secret(webhook: Webhook, code: int) -> Response:
    return Response(FreshWebhookSerializer(webhook).data, status=code, headers=NO_STORE)


def _webhook(request: Request, webhook_id: str) -> Webhook:
    return webhooks.webhook_of(_account_id(request), _id(webhook_id))


def _id(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise NotFound("There is no such thing of yours.") from None


def _account_id(request: Request) -> str:
    return require_principal(request.auth).account_id


def _user(request: Request) -> User:
    assert isinstance(request.user, User), "an authenticated request has a user"
    return request.user
