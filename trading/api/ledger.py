"""GET /account/ledger: every change of the caller's cash. Thin over trading.selectors.ledger."""

from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from trading.api.portfolio import page_json, reader
from trading.api.query import FRESHNESS_NAMES, PAGE, Query
from trading.api.read_schema import LEDGER_PAGE
from trading.api.schema import problems
from trading.eventlog.codec import timestamp_text, to_us
from trading.money import format_pips
from trading.replicas import may_lag
from trading.selectors.ledger import LedgerEntry, ledger_page


class LedgerView(APIView):
    """The caller's entries."""

    throttle_class_name = "data"

    @extend_schema(
        operation_id="account_ledger", tags=["account"], summary="Every change of cash, newest first",
        description="`amount` is what the event changed free cash by and `cash_after` what that left, in the order of "
        "their times. A credit that repays debt stands there in full: all amounts add up to cash less debt.",
        parameters=[*PAGE], responses={200: LEDGER_PAGE, **problems(400, 401, 403, 503)},
    )  # fmt: skip
    @may_lag
    def get(self, request: Request) -> Response:
        account_id, query = reader(request).account_id, Query(request, "limit", "cursor", *FRESHNESS_NAMES)
        limit = query.limit()
        as_of = query.reach(("ledger",))
        page = ledger_page(account_id, limit=limit, cursor=query.text("cursor"))
        return page_json(page, [entry_json(entry) for entry in page.rows], as_of)


def entry_json(entry: LedgerEntry) -> dict[str, Any]:
    return {
        "entry_id": entry.entry_id,
        "at": timestamp_text(to_us(entry.at)),
        "kind": entry.kind,
        "amount": format_pips(entry.amount_pips),
        "cash_after": format_pips(entry.cash_after_pips),
        "market_id": entry.market_id,
        "order_id": entry.order_id,
        "event_id": entry.event_id,
    }


ledger_patterns = [path("account/ledger", LedgerView.as_view(), name="api-account-ledger")]
