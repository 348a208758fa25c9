"""Resolutions under /api/v1/markets/{market}/resolutions: proposed, seen, approved, disputed, withdrawn, undone."""

import uuid
from typing import NamedTuple

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from markets import resolutions, selectors
from markets.api import MARKET, STAFF_ERRORS, TAGS, change_json, staff_actor
from markets.listed import PROJECTIONS
from markets.resolution_reads import (
    decision_of,
    find_resolution,
    preview_json,
    resolutions_json,
    resolutions_of,
)
from markets.serializers import (
    ChangeSerializer,
    EvidenceRequestSerializer,
    PreviewSerializer,
    ProposalSerializer,
    ProposedSerializer,
    ProposeRequestSerializer,
    ReasonRequestSerializer,
    ResolutionListSerializer,
)
from markets.services import Actor, Change
from trading.api.errors import request_id_of
from trading.api.query import FRESHNESS, FRESHNESS_NAMES, PAGE, Query
from trading.api.schema import problems
from trading.api.strict import StrictSerializer
from trading.eventlog.codec import to_us
from trading.ids import MARKET_SLOTS
from trading.models import Resolution
from trading.principal import TRADE, require_principal
from trading.replicas import may_lag
from trading.selectors.pages import Cursor, Moment
from trading.settlement.preview import preview

RESOLUTION = OpenApiParameter("resolution_id", OpenApiTypes.UUID, OpenApiParameter.PATH)
PREVIEWED = ("positions", "orders", "markets")


class _AccountKey(NamedTuple):
    account_id: uuid.UUID


class _ProposalKey(NamedTuple):
    proposed_us: Moment
    resolution_id: uuid.UUID


_ACCOUNTS, _PROPOSALS = Cursor("preview", _AccountKey), Cursor("resolutions", _ProposalKey)


class ResolutionsView(APIView):
    """The proposals of a market."""

    throttle_class_name = {"GET": "data"}

    @extend_schema(
        operation_id="resolution_list",
        tags=TAGS,
        summary="How a market is to end: all proposals, newest first",
        auth=[],
        parameters=[MARKET, *PAGE, *FRESHNESS],
        responses={200: ResolutionListSerializer, **problems(400, 404, 503)},
    )
    @may_lag
    def get(self, request: Request, market: str) -> Response:
        query = Query(request, "limit", "cursor", *FRESHNESS_NAMES)
        as_of = query.reach(PROJECTIONS, range(MARKET_SLOTS))
        row, last, limit = selectors.find(market), _PROPOSALS.read(query.text("cursor")), query.limit()
        following = [each for each in resolutions_of(row.market_id) if last is None or _key_of(each) < last]
        page = _PROPOSALS.page(following[: limit + 1], limit=limit, key_of=_key_of)
        return Response({"results": resolutions_json(row, page.rows), "next": page.next, "as_of": as_of})

    @extend_schema(
        operation_id="resolution_propose",
        tags=TAGS,
        summary="Propose how a market should end (staff)",
        description="One of `outcome`, `payouts` and `void`. Halts trading. Takes the place of an earlier proposal; "
        "settles once others have approved it and its dispute window is over.",
        parameters=[MARKET],
        request=ProposeRequestSerializer,
        responses={201: ProposedSerializer, **problems(*STAFF_ERRORS)},
    )
    def post(self, request: Request, market: str) -> Response:
        actor = staff_actor(request)
        body = dict(ProposeRequestSerializer.of(request).validated_data)
        change = resolutions.propose(selectors.find(market), voids=body.pop("void"), actor=actor, **body)
        return Response(_proposed_json(change), status=status.HTTP_201_CREATED)


class ResolutionView(APIView):
    """One proposal."""

    throttle_class_name = "data"

    @extend_schema(
        operation_id="resolution_read",
        tags=TAGS,
        summary="Read a resolution",
        auth=[],
        parameters=[MARKET, RESOLUTION, *FRESHNESS],
        responses={200: ProposalSerializer, **problems(400, 404, 503)},
    )
    @may_lag
    def get(self, request: Request, market: str, resolution_id: str) -> Response:
        as_of = Query(request, *FRESHNESS_NAMES).reach(PROJECTIONS, range(MARKET_SLOTS))
        row = selectors.find(market)
        (found,) = resolutions_json(row, [find_resolution(row.market_id, resolution_id)])
        return Response({**found, "as_of": as_of})


class PreviewView(APIView):
    """What a resolution would pay."""

    throttle_class_name = "data"

    @extend_schema(
        operation_id="resolution_preview",
        tags=TAGS,
        summary="What everybody would be paid (staff)",
        description="Every account's pay-out by account id, the totals and whether they add up, and the ten accounts "
        "to whom it brings and costs the most.",
        parameters=[MARKET, RESOLUTION, *PAGE],
        responses={200: PreviewSerializer, **problems(400, 401, 403, 404, 503)},
    )
    @may_lag
    def get(self, request: Request, market: str, resolution_id: str) -> Response:
        staff_actor(request)
        query = Query(request, "limit", "cursor", *FRESHNESS_NAMES)
        as_of = query.reach(PREVIEWED, range(MARKET_SLOTS))
        row = selectors.find(market)
        decision = decision_of(row, find_resolution(row.market_id, resolution_id))
        key, limit = _ACCOUNTS.read(query.text("cursor")), query.limit()
        found = preview(decision, after=None if key is None else str(key.account_id), limit=limit + 1)
        page = _ACCOUNTS.page(
            found.parts, limit=limit, key_of=lambda part: _AccountKey(uuid.UUID(part.account_id))
        )
        shown = preview_json(row, found._replace(parts=page.rows))
        return Response({**shown, "next": page.next, "as_of": as_of})


class ApproveView(APIView):
    """A second person's yes."""

    @extend_schema(
        operation_id="resolution_approve",
        tags=TAGS,
        summary="Approve a resolution, or uphold a disputed one (staff)",
        description="Refused (403) to whoever proposed it and to whoever has approved it already.",
        parameters=[MARKET, RESOLUTION],
        request=StrictSerializer,
        responses={202: ProposedSerializer, **problems(*STAFF_ERRORS)},
    )
    def post(self, request: Request, market: str, resolution_id: str) -> Response:
        actor = staff_actor(request)
        StrictSerializer.of(request)
        change = resolutions.approve(selectors.find(market).market_id, resolution_id, actor=actor)
        return Response(_proposed_json(change), status=status.HTTP_202_ACCEPTED)


class DisputeView(APIView):
    """A holder's no."""

    @extend_schema(
        operation_id="resolution_dispute",
        tags=TAGS,
        summary="Dispute a resolution (holders of shares)",
        description="Until the window is over. Settlement waits until staff has looked at it again.",
        parameters=[MARKET, RESOLUTION],
        request=ReasonRequestSerializer,
        responses={202: ChangeSerializer, **problems(*STAFF_ERRORS)},
    )
    def post(self, request: Request, market: str, resolution_id: str) -> Response:
        principal = require_principal(request.auth)
        principal.require(TRADE)
        body = ReasonRequestSerializer.of(request).validated_data
        change = resolutions.dispute(
            selectors.find(market).market_id,
            resolution_id,
            account_id=principal.account_id,
            actor=Actor(principal.user_id, request_id_of(request)),
            **body,
        )
        return Response(change_json(change), status=status.HTTP_202_ACCEPTED)


class WithdrawView(APIView):
    """A proposal that is not one any more."""

    @extend_schema(
        operation_id="resolution_withdraw",
        tags=TAGS,
        summary="Withdraw a resolution (staff)",
        description="The market is as it was before; one that traded is suspended until it is resumed.",
        parameters=[MARKET, RESOLUTION],
        request=ReasonRequestSerializer,
        responses={202: ChangeSerializer, **problems(*STAFF_ERRORS)},
    )
    def post(self, request: Request, market: str, resolution_id: str) -> Response:
        actor = staff_actor(request)
        body = ReasonRequestSerializer.of(request).validated_data
        change = resolutions.withdraw(selectors.find(market).market_id, resolution_id, actor=actor, **body)
        return Response(change_json(change), status=status.HTTP_202_ACCEPTED)


class ReverseView(APIView):
    """The undoing of a market's end."""

    @extend_schema(
        operation_id="resolution_reverse",
        tags=TAGS,
        summary="Undo a settled resolution (staff)",
        description="Takes back what was paid, by events that compensate; what is spent becomes debt. Takes effect "
        "once as many further persons have asked for it as a resolution needs approvals; the answer then has a "
        "`settlement_id`.",
        parameters=[MARKET, RESOLUTION],
        request=EvidenceRequestSerializer,
        responses={202: ChangeSerializer, **problems(*STAFF_ERRORS, 410)},
    )
    def post(self, request: Request, market: str, resolution_id: str) -> Response:
        actor = staff_actor(request)
        body = EvidenceRequestSerializer.of(request).validated_data
        change = resolutions.reverse(selectors.find(market).market_id, resolution_id, actor=actor, **body)
        return Response(change_json(change), status=status.HTTP_202_ACCEPTED)


def _key_of(proposal: Resolution) -> _ProposalKey:
    return _ProposalKey(to_us(proposal.proposed_at), proposal.resolution_id)


def _proposed_json(change: Change) -> dict[str, object]:
    return {**change_json(change), "resolution_id": change.settlement_id}
