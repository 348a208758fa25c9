"""GET /account/statement: a day's statement of the caller's account as CSV. Thin over accounts.statements."""

import datetime as dt
import re
from contextlib import suppress

from django.http import FileResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.permissions import CanRead
from accounts.statements.making import make_statement
from trading.api.query import FRESHNESS, FRESHNESS_NAMES, Query
from trading.api.schema import problems
from trading.errors import InvalidRequest
from trading.principal import require_principal
from trading.replicas import may_lag

STATEMENT_COST = 10
PROJECTIONS = ("ledger", "orders", "positions")
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


class CsvRenderer(JSONRenderer):
    """Lets callers ask for text/csv; what is rendered here is a problem, which is JSON for them too."""

    media_type = "text/csv"
    format = "csv"


class StatementView(APIView):
    """A statement of the caller's."""

    permission_classes = (CanRead,)
    renderer_classes = (JSONRenderer, CsvRenderer)

    def throttle_cost(self, request: Request) -> int:
        """It adds up all that the account has done."""
        return STATEMENT_COST

    @extend_schema(
        operation_id="account_statement",
        tags=["account"],
        summary="A day's statement, as CSV",
        description="Opening balance, every change of cash, closing balance, trades, fees and what was held at the end "
        "of a UTC day; of today, until now. `record` says what a row is; docs/REPORTS.md has the columns. UTF-8 with a "
        "byte order mark, RFC 4180. It costs ten tokens. 410 where what was held then is archived.",
        parameters=[
            OpenApiParameter("date", OpenApiTypes.DATE, required=True, description="the UTC day, YYYY-MM-DD"),
            *FRESHNESS,
        ],
        responses={
            (200, "text/csv"): OpenApiResponse(OpenApiTypes.BINARY, description="the statement"),
            **problems(400, 401, 403, 410, 429, 503),
        },
    )
    @may_lag
    def get(self, request: Request) -> FileResponse:
        principal = require_principal(request.auth)
        query = Query(request, "date", *FRESHNESS_NAMES)
        day = _day(query.text("date"))
        query.reach(PROJECTIONS)
        statement = make_statement(principal.account_id, day, now=timezone.now())
        return FileResponse(
            statement.file,
            as_attachment=True,
            filename=statement.name,
            content_type="text/csv; charset=utf-8; header=present",
            headers={"Cache-Control": "no-store"},
        )


def _day(text: str | None) -> dt.date:
    if text is not None and _DATE.fullmatch(text) is not None:
        with suppress(ValueError):
            return dt.date.fromisoformat(text)
    raise InvalidRequest(errors={"date": ["must be a day such as 2026-11-23"]})
