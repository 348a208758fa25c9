"""The catalogue API under /api/v1: markets, their lifecycle, settlements. Thin: services write, selectors read."""

import json
from typing import Any

from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from markets import resolutions, selectors, services
from markets.listed import PROJECTIONS, listed, page_document, remembered_page
from markets.representation import markets_json
from markets.selectors import NUL, ORDERINGS, QUERY_MAX, STATUSES, Wanted
from markets.serializers import (
    ChangeSerializer,
    EndingSerializer,
    EvidenceRequestSerializer,
    MarketAnswerSerializer,
    MarketListSerializer,
    MarketRequestSerializer,
    ResolveRequestSerializer,
    ResumeRequestSerializer,
    SettlementSerializer,
    SuspendRequestSerializer,
)
from markets.services import Actor, Change
from markets.settlements import settlement_json
from trading.api.errors import request_id_of
from trading.api.public import encoded, public_response, remembered
from trading.api.query import FRESHNESS, FRESHNESS_NAMES, PAGE, Query
from trading.api.schema import problems
from trading.errors import InvalidRequest, NotFound
from trading.ids import MARKET_SLOTS
from trading.principal import ADMIN, require_principal
from trading.replicas import may_lag

TAGS = ["markets"]
STAFF_ERRORS = (400, 401, 403, 404, 422, 503, 504)
MARKET = OpenApiParameter("market", str, OpenApiParameter.PATH, description="the market's id or slug")


def staff_actor(request: Request) -> Actor:
    """The caller, if a staff member with the scope `admin`."""
    principal = require_principal(request.auth)
    principal.require(ADMIN)
    return Actor(principal.user_id, request_id_of(request))


class MarketsView(APIView):
    """The catalogue."""

    throttle_class_name = {"GET": "data"}

    @extend_schema(
        operation_id="market_list",
        tags=TAGS,
        summary="List markets",
        description="Ordered by `newest` if nothing is said. `q` searches question and criteria.",
        auth=[],
        parameters=[
            OpenApiParameter("status", str, enum=STATUSES),
            OpenApiParameter("category", str),
            OpenApiParameter(
                "q", str, description="words, as in a web search; beginnings of words count too"
            ),
            OpenApiParameter("ordering", str, enum=tuple(ORDERINGS), description="`newest` if left out"),
            *PAGE,
        ],
        responses={200: MarketListSerializer, **problems(400, 503)},
    )
    @may_lag
    def get(self, request: Request) -> HttpResponseBase:
        query = Query(request, "status", "category", "q", "ordering", "limit", "cursor", *FRESHNESS_NAMES)
        wanted, limit, cursor = wanted_markets(query), query.limit(), query.text("cursor")
        key = json.dumps([wanted.statuses, wanted.category, wanted.query, wanted.ordering, limit, cursor])
        answer = remembered(
            listed, query, key,
            soon=lambda: remembered_page(key, wanted, limit=limit, cursor=cursor),
            now=lambda: page_document(wanted, limit=limit, cursor=cursor),
            projections=PROJECTIONS,
        )  # fmt: skip
        return public_response(request, answer, max_age_s=1)

    @extend_schema(
        operation_id="market_create",
        tags=TAGS,
        summary="Create a market (staff)",
        description="It opens at once, or at `opens_at`.",
        request=MarketRequestSerializer,
        responses={201: MarketAnswerSerializer, **problems(400, 401, 403, 503, 504)},
    )
    def post(self, request: Request) -> Response:
        actor = staff_actor(request)
        new = MarketRequestSerializer.of(request).new_market()
        market, change = services.create_market(new, actor=actor)
        row = services.shown(market, new, change)
        return Response({**markets_json([row])[0], "as_of": change.as_of}, status=status.HTTP_201_CREATED)


class MarketView(APIView):
    """One market."""

    throttle_class_name = "data"

    @extend_schema(
        operation_id="market_read",
        tags=TAGS,
        summary="Read a market",
        auth=[],
        parameters=[MARKET, *FRESHNESS],
        responses={200: MarketAnswerSerializer, **problems(400, 404, 503)},
    )
    @may_lag
    def get(self, request: Request, market: str) -> HttpResponseBase:
        query = Query(request, *FRESHNESS_NAMES)
        as_of = query.reach(PROJECTIONS, range(MARKET_SLOTS))
        row = selectors.find(market)
        return public_response(request, encoded({**markets_json([row])[0], "as_of": as_of}), max_age_s=1)


class SuspendView(APIView):
    """Halting a market."""

    @extend_schema(
        operation_id="market_suspend",
        tags=TAGS,
        summary="Suspend a market (staff)",
        description="Matching stops; open orders stay and can be cancelled.",
        parameters=[MARKET],
        request=SuspendRequestSerializer,
        responses={200: ChangeSerializer, **problems(*STAFF_ERRORS)},
    )
    def post(self, request: Request, market: str) -> Response:
        actor = staff_actor(request)
        body = SuspendRequestSerializer.of(request).validated_data
        row = selectors.find(market)
        return Response(change_json(services.suspend(row.market_id, actor=actor, **body)))


class ResumeView(APIView):
    """Ending a halt."""

    @extend_schema(
        operation_id="market_resume",
        tags=TAGS,
        summary="Resume a suspended market (staff)",
        description="At once, or after `phase_seconds` in which it takes cancels only (`cancel_only`) or besides them "
        "orders that do not trade (`post_only`).",
        parameters=[MARKET],
        request=ResumeRequestSerializer,
        responses={200: ChangeSerializer, **problems(*STAFF_ERRORS)},
    )
    def post(self, request: Request, market: str) -> Response:
        actor = staff_actor(request)
        body = ResumeRequestSerializer.of(request).validated_data
        row = selectors.find(market)
        change = services.resume(
            row.market_id, phase=body["phase"], phase_s=body["phase_seconds"], actor=actor
        )
        return Response(change_json(change))


class ResolveView(APIView):
    """Deciding a market."""

    @extend_schema(
        operation_id="market_resolve",
        tags=TAGS,
        summary="Resolve a market (staff)",
        description="`outcome` pays $1 a share, or `payouts` says what each pays (they sum to 1.0000; those left "
        "out pay nothing). Closes the market, cancels its orders and pays every holder.",
        parameters=[MARKET],
        request=ResolveRequestSerializer,
        responses={202: EndingSerializer, **problems(*STAFF_ERRORS)},
    )
    def post(self, request: Request, market: str) -> Response:
        actor = staff_actor(request)
        body = ResolveRequestSerializer.of(request).validated_data
        change = resolutions.resolve(selectors.find(market), actor=actor, **body)
        return Response(change_json(change), status=status.HTTP_202_ACCEPTED)


class VoidView(APIView):
    """Unwinding a market."""

    @extend_schema(
        operation_id="market_void",
        tags=TAGS,
        summary="Void a market (staff)",
        description="Closes the market, cancels its orders and gives back what was paid in, fees included.",
        parameters=[MARKET],
        request=EvidenceRequestSerializer,
        responses={202: EndingSerializer, **problems(*STAFF_ERRORS)},
    )
    def post(self, request: Request, market: str) -> Response:
        actor = staff_actor(request)
        body = EvidenceRequestSerializer.of(request).validated_data
        row = selectors.find(market)
        change = resolutions.void(row, evidence=body["evidence"], actor=actor)
        return Response(change_json(change), status=status.HTTP_202_ACCEPTED)


class SettlementView(APIView):
    """The paying out of a market."""

    throttle_class_name = "data"

    @extend_schema(
        operation_id="settlement_read",
        tags=TAGS,
        summary="Read a settlement",
        auth=[],
        parameters=[OpenApiParameter("settlement_id", OpenApiTypes.UUID, OpenApiParameter.PATH), *FRESHNESS],
        responses={200: SettlementSerializer, **problems(400, 404, 503)},
    )
    @may_lag
    def get(self, request: Request, settlement_id: str) -> Response:
        as_of = Query(request, *FRESHNESS_NAMES).reach(PROJECTIONS, range(MARKET_SLOTS))
        identifier = selectors.market_uuid(settlement_id)
        found = settlement_json(identifier) if identifier else None
        if found is None:
            raise NotFound("There is no such settlement.")
        return Response({**found, "as_of": as_of})


def wanted_markets(query: Query) -> Wanted:
    """The filters of a list. Raises InvalidRequest for values that mean nothing."""
    status, ordering = query.text("status"), query.text("ordering") or "newest"
    errors = {}
    if status is not None and status not in STATUSES:
        errors["status"] = [f"must be one of {', '.join(STATUSES)}"]
    if ordering not in ORDERINGS:
        errors["ordering"] = [f"must be one of {', '.join(ORDERINGS)}"]
    errors |= {name: ["must not hold NUL"] for name in ("category", "q") if NUL in (query.text(name) or "")}
    if len(query.text("q") or "") > QUERY_MAX:
        errors["q"] = [f"may have {QUERY_MAX} characters"]
    if errors:
        raise InvalidRequest(errors=errors)
    return Wanted(
        statuses=() if status is None else (status,),
        category=query.text("category"),
        query=query.text("q"),
        ordering=ordering,
    )


def change_json(change: Change) -> dict[str, Any]:
    """What a change left; `settlement_id` only where there is one."""
    answer = {"market_id": change.market_id, "status": change.status, "as_of": change.as_of}
    return answer if change.settlement_id is None else {**answer, "settlement_id": change.settlement_id}
