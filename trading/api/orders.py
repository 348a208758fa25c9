"""Order entry through DRF: place, amend, cancel, look up, batch. Thin over trading.orders."""

from typing import Any

from django.urls import path
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from trading import dead_man, mass_cancel, orders
from trading.api.order_schema import (
    AmendSchema,
    BatchResultSchema,
    BatchSchema,
    CancelledSchema,
    HeartbeatAnswerSchema,
    HeartbeatSchema,
    OrderSchema,
    PlaceSchema,
)
from trading.api.query import MIN_AS_OF
from trading.api.schema import problems
from trading.errors import ExchangeError
from trading.gateway import gateway_sync
from trading.ids import new_id
from trading.market_terms import MarketTerms, market_terms
from trading.order_request import (
    client_reference,
    cost_of_batch,
    order_reference,
    parse_batch,
    refuse_unknown_parameters,
)
from trading.orders import Answer, Caller
from trading.principal import READ, TRADE, require_principal
from trading.wire import Envelope

ORDER_ERRORS = (400, 401, 403, 404, 409, 422, 503, 504)
OUTCOME = OpenApiParameter("outcome", str, description="Only orders for this outcome.")
SENT_AS = OpenApiParameter(
    "order_id",
    str,
    description="The `order_id` of the last 504 for this client id: says what its look-up is to wait for.",
)
SIDE = OpenApiParameter("side", str, enum=["buy", "sell"], description="Only orders of this side.")


def caller_of(request: Request, scope: str, *parameters: str) -> Caller:
    """The authenticated caller, if the scope is held; refuses all query parameters but those named."""
    principal = require_principal(request.auth)
    principal.require(scope)
    refuse_unknown_parameters(request.query_params, parameters)
    return Caller(principal, getattr(request, "request_id", None) or "")


def perform(envelope: Envelope, terms: MarketTerms) -> Answer:
    """Sends one command and answers it."""
    outcome = gateway_sync().send([envelope])[0]
    return orders.quick_answer(envelope, outcome, terms) or orders.looked_up(envelope, outcome, terms)


def respond(answer: Answer) -> Response:
    return Response(answer.body, status=answer.status)


class MarketOrdersView(APIView):
    """Orders of one market."""

    throttle_class_name = {"POST": "order", "DELETE": "cancel"}

    @extend_schema(
        operation_id="order_place", summary="Place an order", request=PlaceSchema,
        responses={201: OrderSchema, 200: OrderSchema, **problems(*ORDER_ERRORS)},
    )  # fmt: skip
    def post(self, request: Request, market: str) -> Response:
        caller = caller_of(request, TRADE)
        terms = market_terms(market)
        return respond(perform(orders.place(caller, terms, request.data), terms))

    @extend_schema(
        operation_id="order_cancel_market", summary="Cancel all orders in a market", parameters=[OUTCOME, SIDE],
        request=None, responses={200: CancelledSchema, **problems(*ORDER_ERRORS)},
    )  # fmt: skip
    def delete(self, request: Request, market: str) -> Response:
        caller = caller_of(request, TRADE, *mass_cancel.CHOSEN_BY)
        terms = market_terms(market)
        envelope = mass_cancel.cancel_all(caller, terms, **mass_cancel.chosen_by(request.query_params))
        return respond(perform(envelope, terms))


class AllOrdersView(APIView):
    """Orders of every market."""

    throttle_class_name = {"DELETE": "cancel"}

    @extend_schema(
        operation_id="order_cancel_all", summary="Cancel all orders everywhere", parameters=[OUTCOME, SIDE],
        description="Without outcome and side also stops every order that was sent before it and is still on its way. "
        "If not all markets have answered, or one could not cancel, it is a 504 whose `errors` name them.",
        request=None,
        responses={200: CancelledSchema, **problems(*ORDER_ERRORS)},
    )  # fmt: skip
    def delete(self, request: Request) -> Response:
        caller = caller_of(request, TRADE, *mass_cancel.CHOSEN_BY)
        return respond(cancel_everywhere(caller, **mass_cancel.chosen_by(request.query_params)))


def cancel_everywhere(caller: Caller, *, outcome: str | None, side: str | None) -> Answer:
    """One cancel-all for each market in which the caller may have open orders."""
    prepared = mass_cancel.cancel_everywhere(caller, outcome=outcome, side=side, fence=new_id())
    outcomes = gateway_sync().send([each.envelope for each in prepared]) if prepared else []
    return mass_cancel.total_cancelled(prepared, outcomes)


class OrderView(APIView):
    """One order. Its operations in the schema are named by their paths."""

    throttle_class_name = {"GET": "data", "PATCH": "order", "DELETE": "cancel"}
    look_up_parameters: tuple[str, ...] = orders.FIND_BY_ID

    @extend_schema(
        summary="Look an order up",
        parameters=[MIN_AS_OF],
        responses={200: OrderSchema, **problems(*ORDER_ERRORS)},
    )
    def get(self, request: Request, **names: str) -> Response:
        caller = caller_of(request, READ, *self.look_up_parameters)
        market_id = market_terms(names["market"]).market_id if "market" in names else None
        sent_as, min_as_of = request.query_params.get("order_id"), request.query_params.get("min_as_of")
        found = orders.find(
            caller, **references(names), sent_as=sent_as, min_as_of=min_as_of, market_id=market_id
        )
        return respond(found)

    @extend_schema(
        summary="Amend an order", request=AmendSchema,
        responses={200: OrderSchema, **problems(*ORDER_ERRORS)},
    )  # fmt: skip
    def patch(self, request: Request, **names: str) -> Response:
        caller = caller_of(request, TRADE)
        named = references(names)
        terms = market_terms(names["market"]) if "market" in names else orders.home_of(caller, **named)
        return respond(perform(orders.amend(caller, terms.market_id, request.data, **named), terms))

    @extend_schema(
        summary="Cancel an order", request=None,
        responses={200: OrderSchema, **problems(*ORDER_ERRORS)},
    )  # fmt: skip
    def delete(self, request: Request, **names: str) -> Response:
        caller = caller_of(request, TRADE)
        named = references(names)
        terms = market_terms(names["market"]) if "market" in names else orders.home_of(caller, **named)
        return respond(perform(orders.cancel(caller, terms.market_id, **named), terms))


class OrderByClientIdView(OrderView):
    """One order by its owner's client id."""

    look_up_parameters = orders.FIND_BY_CLIENT_ID

    @extend_schema(
        summary="Look an order up", parameters=[MIN_AS_OF, SENT_AS],
        description="A 404 is `final` only with the `order_id` of the last 504: by a client id alone nobody can tell "
        "whether a command is still on its way.",
        responses={200: OrderSchema, **problems(*ORDER_ERRORS)},
    )  # fmt: skip
    def get(self, request: Request, **names: str) -> Response:
        return super().get(request, **names)


def references(names: dict[str, str]) -> dict[str, Any]:
    """The path's order id or client order id, checked."""
    if "client_order_id" in names:
        return {"order_id": None, "client_order_id": client_reference(names["client_order_id"])}
    return {"order_id": order_reference(names["order_id"]), "client_order_id": None}


class BatchView(APIView):
    """Up to 500 commands in one request. It is read once its first token is paid; then it takes the others."""

    throttle_class_name = "order"
    tokens_due = 1

    def throttle_cost(self, request: Request) -> int:
        return self.tokens_due

    @extend_schema(
        operation_id="order_batch", summary="Place, amend and cancel up to 500 orders", request=BatchSchema,
        responses={200: BatchResultSchema, **problems(*ORDER_ERRORS)},
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        caller = caller_of(request, TRADE)
        self.tokens_due = cost_of_batch(request.data) - 1
        if self.tokens_due:
            self.check_throttles(request)
        prepared = orders.prepare_batch(caller, parse_batch(request.data))
        envelopes = [each.envelope for each in prepared if not isinstance(each, ExchangeError)]
        answers, waiting = orders.quick_batch(prepared, gateway_sync().send(envelopes) if envelopes else [])
        orders.look_up_batch(answers, waiting)
        return Response({"results": [orders.batch_result(answer) for answer in answers]})


class HeartbeatView(APIView):
    """The dead-man switch. It gets its tokens from the cancels' bucket, which is never refused for load."""

    throttle_class_name = "cancel"

    @extend_schema(
        operation_id="account_heartbeat", tags=["account"], summary="Set the dead-man switch",
        description="Unless the next heartbeat comes within `timeout_s`, all orders of this key are cancelled with "
        "reason `heartbeat`; all of the account, if a session asks. 0 stops it.",
        request=HeartbeatSchema, responses={200: HeartbeatAnswerSchema, **problems(400, 401, 403, 503)},
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        return Response(dead_man.heartbeat(caller_of(request, TRADE).principal, request.data))


order_patterns = [
    path("orders", AllOrdersView.as_view(), name="api-orders"),
    path("orders/batch", BatchView.as_view(), name="api-orders-batch"),
    path(
        "orders/by-client-id/<str:client_order_id>",
        OrderByClientIdView.as_view(),
        name="api-order-by-client-id",
    ),
    path("orders/<str:order_id>", OrderView.as_view(), name="api-order"),
    path("account/heartbeat", HeartbeatView.as_view(), name="api-heartbeat"),
    path("markets/<str:market>/orders", MarketOrdersView.as_view(), name="api-market-orders"),
    path("markets/<str:market>/orders/by-client-id/<str:client_order_id>", OrderByClientIdView.as_view()),
    path("markets/<str:market>/orders/<str:order_id>", OrderView.as_view()),
]
