"""The account API under /api/v1: registration, keys, money, socket tickets, notifications. Thin: services write."""

import uuid
from collections.abc import Callable

from django.http.response import HttpResponseBase
from django.views.decorators.debug import sensitive_variables
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import selectors, services, tickets
from accounts.leaderboard import (
    MAX_ROWS,
    MEASURES,
    PERIODS,
    PROJECTIONS,
    Board,
    leaderboard,
    remembered_board,
)
from accounts.lists import KEYS, NOTIFICATIONS, page_of
from accounts.models import User
from accounts.permissions import CanRead, CanTrade
from accounts.serializers import (
    AccountSerializer,
    CashSerializer,
    FreshKeySerializer,
    KeyListSerializer,
    KeyRequestSerializer,
    KeySerializer,
    LeaderboardSerializer,
    MarkedReadSerializer,
    MarkReadSerializer,
    MoneySerializer,
    NotificationListSerializer,
    NotificationSerializer,
    RegisteredSerializer,
    RegistrationSerializer,
    TicketSerializer,
)
from trading.api.errors import request_id_of
from trading.api.public import encoded, public_response
from trading.api.query import CURSOR, FRESHNESS, FRESHNESS_NAMES, LIMIT, Query
from trading.api.schema import problems
from trading.as_of import covers
from trading.cash import CashAnswer
from trading.errors import InvalidRequest, NotFound, PermissionDenied
from trading.money import format_pips
from trading.principal import Principal, require_principal
from trading.replicas import may_lag
from trading.selectors.pages import DEFAULT_LIMIT

TAGS = ["account"]


class RegisterView(APIView):
    """Anyone may register; credentials are not looked at."""

    authentication_classes = ()
    permission_classes = ()
    throttle_class_name = "sign_in"

    @extend_schema(
        tags=TAGS,
        summary="Register a user",
        description="Creates a user with an empty account and a first key with the scopes read and trade, shown once.",
        auth=[],
        request=RegistrationSerializer,
        responses={201: RegisteredSerializer, **problems(400, 413)},
    )
    @sensitive_variables()
    def post(self, request: Request) -> Response:
        user, key = services.register_with_key(**RegistrationSerializer.of(request).validated_data)
        answer = {
            "user_id": str(user.pk),
            "account_id": str(user.account_id),
            "username": user.username,
            "api_key": key.secret,
        }
        return Response(answer, status=status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"})


class KeysView(APIView):
    """The caller's keys."""

    permission_classes = (CanRead,)

    @extend_schema(
        tags=TAGS,
        summary="List API keys",
        description="Newest first, without the keys themselves and without revoked ones.",
        parameters=[LIMIT, CURSOR],
        responses={200: KeyListSerializer, **problems(400, 401, 403)},
    )
    def get(self, request: Request) -> Response:
        page = page_of(selectors.keys_of(_user(request)), Query(request, "limit", "cursor"), KEYS)
        return Response({"results": KeySerializer(page.rows, many=True).data, "next": page.next})

    @extend_schema(
        tags=TAGS,
        summary="Create an API key",
        description="`key` is shown this once. A key grants no scope it lacks; `admin` is for staff.",
        request=KeyRequestSerializer,
        responses={201: FreshKeySerializer, **problems(400, 401, 403, 422)},
    )
    @sensitive_variables()
    def post(self, request: Request) -> Response:
        wanted = KeyRequestSerializer.of(request).validated_data
        issued = services.issue_key(user=_user(request), by=_principal(request), **wanted)
        answer = {**KeySerializer(issued.row).data, "key": issued.secret}
        return Response(answer, status=status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"})


class KeyView(APIView):
    """One of the caller's keys."""

    permission_classes = (CanRead,)

    @extend_schema(
        tags=TAGS,
        summary="Revoke an API key",
        description="A key ends only keys with no more scopes than its own. The fast lane follows within 2 seconds.",
        parameters=[OpenApiParameter("key_id", uuid.UUID, OpenApiParameter.PATH)],
        responses={204: None, **problems(401, 403, 404)},
    )
    def delete(self, request: Request, key_id: str) -> Response:
        try:
            wanted = str(uuid.UUID(key_id))
        except ValueError:
            raise NotFound("There is no such key.") from None
        services.revoke_key(user=_user(request), key_id=wanted, by=_principal(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class AccountView(APIView):
    """The caller's money."""

    permission_classes = (CanRead,)

    @extend_schema(
        tags=TAGS,
        summary="Read the account",
        description="Cash is read from the primary.",
        responses={200: AccountSerializer, **problems(401, 403)},
    )
    def get(self, request: Request) -> Response:
        return Response(selectors.account_view(_principal(request).account_id))


class MoneyView(APIView):
    """Play money in or out."""

    permission_classes = (CanTrade,)

    def move(self, request: Request, service: Callable[..., CashAnswer]) -> Response:
        wanted = MoneySerializer.of(request).validated_data
        answer = service(
            principal=_principal(request),
            amount_pips=wanted["amount"],
            client_id=wanted["client_id"],
            request_id=request_id_of(request),
        )
        body = {"cash": format_pips(answer.cash_pips), "as_of": answer.as_of}
        return Response(body, status=status.HTTP_200_OK if answer.replayed else status.HTTP_201_CREATED)


class DepositView(MoneyView):
    """Play money in."""

    @extend_schema(
        tags=TAGS,
        summary="Deposit play money",
        description="200 instead of 201 if this `client_id` had been done before. Over the faucet's limit: "
        "422 `exceeds_limits`.",
        request=MoneySerializer,
        responses={201: CashSerializer, 200: CashSerializer, **problems(400, 401, 403, 409, 422)},
    )
    def post(self, request: Request) -> Response:
        return self.move(request, services.deposit)


class WithdrawView(MoneyView):
    """Play money out."""

    @extend_schema(
        tags=TAGS,
        summary="Withdraw play money",
        description="Of free cash only: else 422 `exceeds_available_cash`.",
        request=MoneySerializer,
        responses={201: CashSerializer, 200: CashSerializer, **problems(400, 401, 403, 409, 422)},
    )
    def post(self, request: Request) -> Response:
        return self.move(request, services.withdraw)


class LeaderboardView(APIView):
    """Who is ahead. Open to all."""

    throttle_class_name = "data"

    @extend_schema(
        tags=["leaderboard"],
        summary="Who is ahead",
        description="By what trading has brought (fees taken off, shares still held left out), by price × quantity of "
        "all fills, or by the mean Brier score of the prices traded at in markets that were resolved. `day` begins at "
        "00:00 UTC, `week` is the last seven UTC days, today included. Equal values go by name, equal scores first by "
        "the number of markets.",
        auth=[],
        parameters=[
            OpenApiParameter("period", str, enum=PERIODS, description="`all` if left out"),
            OpenApiParameter("by", str, enum=MEASURES, description="`profit` if left out"),
            OpenApiParameter("limit", int, description=f"{DEFAULT_LIMIT} if left out, at most {MAX_ROWS}"),
            *FRESHNESS,
        ],
        responses={200: LeaderboardSerializer, **problems(400, 503)},
    )
    @may_lag
    def get(self, request: Request) -> HttpResponseBase:
        query = Query(request, "period", "by", "limit", *FRESHNESS_NAMES)
        period = query.choice("period", PERIODS, default="all")
        by = query.choice("by", MEASURES, default="profit")
        limit = query.number("limit", default=DEFAULT_LIMIT, least=1, most=MAX_ROWS)

        min_as_of = query.text("min_as_of")
        board = None if query.requires_fresh else remembered_board(period, by)
        if board is None or (min_as_of is not None and not covers(board.as_of, min_as_of)):
            as_of = query.reach(PROJECTIONS)
            board = Board(leaderboard(period, by, MAX_ROWS), as_of)
        rows = [{"rank": row.rank, "username": row.username, "value": row.text} for row in board.rows[:limit]]
        document = {"results": rows, "next": None, "as_of": board.as_of}
        return public_response(request, encoded(document), max_age_s=60)


class TicketView(APIView):
    """The way from a session to an authenticated socket."""

    permission_classes = (CanRead,)

    @extend_schema(
        tags=TAGS,
        summary="Get a one-time socket ticket",
        description='For sessions. Send it within 30 seconds as `{"op": "auth", "ticket": …}`; it works once.',
        request=None,
        responses={201: TicketSerializer, **problems(401, 403, 503)},
    )
    def post(self, request: Request) -> Response:
        principal = _principal(request)
        if principal.key_id is not None:
            # A key is judged with every frame; a ticket would outlive it.
            raise PermissionDenied("Tickets are for sessions: a socket takes the key itself.")
        answer = {"ticket": tickets.issue(principal), "expires_in_s": tickets.LIFETIME_SECONDS}
        return Response(answer, status=status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"})


class NotificationsView(APIView):
    """What happened to the account."""

    permission_classes = (CanRead,)

    @extend_schema(
        tags=TAGS,
        summary="List notifications",
        description="Newest first.",
        parameters=[
            LIMIT,
            CURSOR,
            OpenApiParameter("unread", bool, description="`true`: only unread ones"),
        ],
        responses={200: NotificationListSerializer, **problems(400, 401, 403)},
    )
    def get(self, request: Request) -> Response:
        query = Query(request, "limit", "cursor", "unread")
        unread = query.text("unread")
        if unread not in (None, "true", "false"):
            raise InvalidRequest(errors={"unread": ["must be true or false"]})
        account_id = _principal(request).account_id
        found = selectors.notifications_of(account_id, unread_only=unread == "true")
        page = page_of(found, query, NOTIFICATIONS)
        return Response(
            {
                "results": NotificationSerializer(page.rows, many=True).data,
                "next": page.next,
                "unread": selectors.unread_count(account_id),
            }
        )


class NotificationsReadView(APIView):
    """Marking notifications as read."""

    permission_classes = (CanRead,)

    @extend_schema(
        tags=TAGS,
        summary="Mark notifications as read",
        description="Those named in `ids`, or all of them.",
        request=MarkReadSerializer,
        responses={200: MarkedReadSerializer, **problems(400, 401, 403)},
    )
    def post(self, request: Request) -> Response:
        wanted = MarkReadSerializer.of(request).validated_data
        return Response(
            {"read": services.mark_read(account_id=_principal(request).account_id, ids=wanted["ids"])}
        )


def _principal(request: Request) -> Principal:
    return require_principal(request.auth)


def _user(request: Request) -> User:
    assert isinstance(request.user, User), "an authenticated request has a user"
    return request.user
