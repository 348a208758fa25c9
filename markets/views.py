"""The market pages: the list, one market, the portfolio. Thin: they read, and what they send goes through the API.

A request with the header X-Part gets only the part of the page that changes.
"""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_GET

from markets import holdings, selectors
from markets.cards import Card, cards_of
from markets.history import ending_text, history_of
from markets.representation import resolution_of
from markets.resolution_reads import under_review
from markets.selectors import QUERY_MAX, Listing, Wanted
from trading.errors import InvalidRequest, NotFound
from trading.money import format_pips
from trading.replicas import may_lag, on_replica

PAGE_SIZE = 30
STATUSES = {
    "open": ("Open", ("open", "suspended")),
    "ended": ("Closed", ("closed", "proposed", "disputed", "resolved", "voided", "reversed")),
    "all": ("All", ()),
}
ORDERINGS = {"volume": "Most traded", "closes_at": "Closing soon", "newest": "Newest"}


@require_GET
@may_lag
def market_list(request: HttpRequest) -> HttpResponse:
    """`/`: search, filters and cards. What a parameter does not know counts as left out."""
    status = request.GET.get("status", "")
    status = status if status in STATUSES else "open"
    ordering = request.GET.get("ordering", "")
    query = request.GET.get("q", "").replace("\0", "").strip()[:QUERY_MAX]
    wanted = Wanted(
        statuses=STATUSES[status][1],
        category=request.GET.get("category", "").replace("\0", "") or None,
        query=query or None,
        ordering=ordering if ordering in ORDERINGS else "volume",
    )
    try:
        found = selectors.page(wanted, limit=PAGE_SIZE, cursor=request.GET.get("cursor"))
    except InvalidRequest:
        return redirect("markets")
    context: dict[str, Any] = {
        "cards": cards_of(found.rows),
        "next": found.next,
        "wanted": wanted,
        "q": query,
    }
    if _wants_part(request):
        return render(request, "markets/_results.html", context)
    context |= {
        "categories": [name for name, _ in selectors.categories()],
        "statuses": [(value, label) for value, (label, _) in STATUSES.items()],
        "status": status,
        "orderings": ORDERINGS.items(),
    }
    return render(request, "markets/list.html", context)


@require_GET
@never_cache
@ensure_csrf_cookie
@may_lag
def market_page(request: HttpRequest, market: str) -> HttpResponse:
    """`/markets/{slug}`; an id is sent on to its slug."""
    row = _find(market)
    if market != row.slug:
        return redirect("market", row.slug)
    card = cards_of([row])[0]
    context = {
        "card": card,
        "row": row,
        "resolution": resolution_of(row),
        "review": _review(row),
        "history": history_of(row),
        "config": _config(card),
        **_mine(request, row),
    }
    return render(request, "markets/market.html", context)


@require_GET
@never_cache
def mine(request: HttpRequest, market: str) -> HttpResponse:
    """`/markets/{slug}/mine`: the signed-in user's part of a market page, as the primary has it: it is asked for
    when he has just done something."""
    if not request.user.is_authenticated:
        return HttpResponse(status=401)
    return render(request, "markets/_mine.html", {"row": (row := _find(market)), **_mine(request, row)})


@require_GET
@never_cache
@login_required
@ensure_csrf_cookie
def portfolio(request: HttpRequest) -> HttpResponse:
    """`/portfolio`: cash, positions, open orders, fills."""
    account_id = _account_id(request)
    if _wants_part(request):  # The user has just done something, and looks for it.
        return render(request, "markets/_portfolio.html", {"portfolio": holdings.portfolio_of(account_id)})
    shown = on_replica(lambda: holdings.portfolio_of(account_id))
    return render(request, "markets/portfolio.html", {"portfolio": shown})


def _find(market: str) -> Listing:
    try:
        return selectors.find(market)
    except NotFound:
        raise Http404("There is no such market.") from None


def _wants_part(request: HttpRequest) -> bool:
    return request.headers.get("X-Part") == "1"


def _account_id(request: HttpRequest) -> str:
    return str(request.user.account_id)  # type: ignore[union-attr]


def _mine(request: HttpRequest, row: Listing) -> dict[str, Any]:
    if not request.user.is_authenticated:
        return {}
    return {"mine": holdings.market_holdings(_account_id(request), row)}


def _review(row: Listing) -> dict[str, Any] | None:
    """The resolution that is under review; None in quieter times."""
    found = under_review(row.market_id) if row.status in ("proposed", "disputed") else None
    if found is None:
        return None
    return {"resolution": found, "ending": ending_text(row.outcomes, found.payouts)}


def _config(card: Card) -> dict[str, Any]:
    """What the page's scripts need to know of the market."""
    row = card.row
    return {
        "market_id": row.market_id,
        "slug": row.slug,
        "outcomes": list(row.outcomes),
        "quotes": [
            {
                "last_price": None if each.quote.last_pips is None else format_pips(each.quote.last_pips),
                "best_bid": None if each.quote.bid_pips is None else format_pips(each.quote.bid_pips),
                "best_ask": None if each.quote.ask_pips is None else format_pips(each.quote.ask_pips),
            }
            for each in card.outcomes
        ],
        "status": card.status,
        "has_book": card.has_book,
        "payouts_pips": None if row.payouts is None else list(row.payouts),
        "tick_pips": row.tick_pips,
        "taker_fee_e4": row.taker_fee_e4,
        "maker_fee_e4": row.maker_fee_e4,
        "created_at_ms": int(row.created_at.timestamp() * 1000),
        "closes_at_ms": int(row.closes_at.timestamp() * 1000),
        "leading": card.lead.name,
    }
