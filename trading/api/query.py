"""Query strings of DRF's read paths, and how OpenAPI describes them."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from trading.read_query import FRESHNESS_NAMES as FRESHNESS_NAMES
from trading.read_query import ReadQuery
from trading.selectors.pages import DEFAULT_LIMIT, MAX_LIMIT

LIMIT = OpenApiParameter("limit", int, description=f"{DEFAULT_LIMIT} if left out, at most {MAX_LIMIT}")
CURSOR = OpenApiParameter("cursor", str, description="`next` of the page before")
MIN_AS_OF = OpenApiParameter("min_as_of", str, description="wait up to 2 s until reads reflect this `as_of`")
REQUIRE_FRESH = OpenApiParameter(
    "require_fresh",
    bool,
    description="`true`: with all that was committed before, from the primary; waits up to 2 s for it. "
    "Else the answer may come from a replica that is a moment behind",
)
FRESHNESS = (MIN_AS_OF, REQUIRE_FRESH)
MARKET = OpenApiParameter("market_id", str, description="only this market, by id or slug")
OUTCOME = OpenApiParameter("outcome", str, description="an outcome by name")
AT = OpenApiParameter(
    "at",
    OpenApiTypes.DATETIME,
    description="as it was once everything recorded by that time was in it; costs ten tokens",
)
STATUS = OpenApiParameter("status", str, enum=["open", "all"], description="`open` if left out")
PAGE = (LIMIT, CURSOR, *FRESHNESS)


class Query(ReadQuery):
    """The parameters of one request."""

    def __init__(self, request: Request, *known: str) -> None:
        super().__init__(request.query_params, *known)
