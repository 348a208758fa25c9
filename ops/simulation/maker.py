"""The market maker: a few levels either side of its belief in every market, refreshed as the belief moves.

It keeps no book of its own: before each change it asks the exchange what it has there, so fills,
restarts and lost answers need no care.
"""

import asyncio
import logging
import time
from typing import Any

from examples.pmarket_client import Client, Problem
from ops.simulation.markets import Markets, SimulatedMarket
from ops.simulation.quoting import LiveQuote, Quote, changes, ladder
from trading.money import format_pips, parse_pips

log = logging.getLogger(__name__)

HALF_SPREAD_TICKS_E2 = 60
"""Hundredths of a tick between the belief and the best quote, before rounding to a tick."""

CASH = "1000000.0000"
LOW_CASH_PIPS = 2_500_000_000
LOOK_AT_CASH_S = 30.0
LARGEST_BATCH = 500
OLD_AFTER_S = 60.0
PAGE = 500
OPENING_AT_ONCE = 4
SHORTEST_PAUSE_S = 0.2


class Maker:
    """Places about `rate` orders a second once every market has its first quotes."""

    def __init__(self, client: Client, markets: Markets, *, rate: float) -> None:
        self._client = client
        self._markets = markets
        self._rate = rate
        self._cash_seen_s = 0.0
        self.placed = 0

    async def run(self) -> None:
        """Quote until cancelled."""
        while True:
            await self._keep_cash()
            fresh = [market for market in self._markets if not market.quoted_pips]
            if fresh:
                await self._open(fresh)
                await asyncio.sleep(SHORTEST_PAUSE_S)
                continue
            market = self._most_urgent()
            placed = await self.refresh(market) if market is not None else 0
            await asyncio.sleep(max(placed / self._rate, SHORTEST_PAUSE_S))

    async def _open(self, fresh: list[SimulatedMarket]) -> None:
        """The first quotes of new markets come as fast as the exchange allows."""
        for start in range(0, len(fresh), OPENING_AT_ONCE):
            await asyncio.gather(*(self.refresh(each) for each in fresh[start : start + OPENING_AT_ONCE]))

    def _most_urgent(self) -> SimulatedMarket | None:
        """The market whose quotes are furthest from the belief, in ticks, or have been there for long."""
        now_s = time.monotonic()

        def urgency(market: SimulatedMarket) -> float:
            moved = zip(market.prices_now(), market.quoted_pips, strict=True)
            ticks = max(abs(now - then) for now, then in moved) / market.tick_pips
            return ticks * (0.5 + market.popularity) + (now_s - market.quoted_at_s) / OLD_AFTER_S

        return max(self._markets, key=urgency, default=None)

    async def refresh(self, market: SimulatedMarket) -> int:
        """Bring the market's quotes to where the belief is; answers how many orders that took."""
        try:
            return await self._refresh(market)
        except Problem as problem:
            log.warning("the maker's request is answered %s", problem)
            return 0

    async def _refresh(self, market: SimulatedMarket) -> int:
        live = await self._live(market)
        prices = market.prices_now()
        market.quoted_pips, market.quoted_at_s = prices, time.monotonic()
        cancels, places = changes(live, _wanted(market, prices))
        items = [_cancel(market, quote) for quote in cancels]
        items += [_place(market, quote) for quote in places]
        for start in range(0, len(items), LARGEST_BATCH):
            self._note(market, await self._client.batch(items[start : start + LARGEST_BATCH]))
        self.placed += len(places)
        return len(places)

    async def _live(self, market: SimulatedMarket) -> list[LiveQuote]:
        """Its open orders, not older than its last change to them."""
        rows = self._client.pages(
            "/portfolio/orders",
            market_id=market.market_id,
            status="open",
            limit=PAGE,
            min_as_of=market.as_of or None,
        )
        return [
            LiveQuote(
                row["order_id"], row["outcome"], row["side"], parse_pips(row["price"]), row["remaining"]
            )
            async for row in rows
        ]

    def _note(self, market: SimulatedMarket, results: list[dict[str, Any]]) -> None:
        for result in results:
            if result.get("order"):
                market.as_of = result["order"]["as_of"] or market.as_of
            if result.get("code") == "market_not_open":
                self._markets.drop(market)
            elif result.get("code") == "exceeds_available_cash":
                self._cash_seen_s = 0.0

    async def _keep_cash(self) -> None:
        """Look at the account now and then; deposit when it runs low."""
        if time.monotonic() - self._cash_seen_s < LOOK_AT_CASH_S and self._cash_seen_s:
            return
        self._cash_seen_s = time.monotonic()
        try:
            account = await self._client.get("/account")
            if parse_pips(account["cash"]) < LOW_CASH_PIPS:
                await self._client.deposit(CASH)
        except Problem as problem:
            log.warning("the maker's account is answered %s", problem)


def _wanted(market: SimulatedMarket, prices: list[int]) -> list[Quote]:
    """A ladder for each book: a binary market has one, its first outcome's."""
    half_spread = market.tick_pips * HALF_SPREAD_TICKS_E2 // 100
    quoted = market.outcomes[:1] if market.is_binary else market.outcomes
    return [
        quote
        for outcome, price in zip(quoted, prices, strict=False)
        for quote in ladder(
            outcome, price, tick_pips=market.tick_pips, half_spread_pips=half_spread, sizes=market.sizes
        )
    ]


def _cancel(market: SimulatedMarket, quote: LiveQuote) -> dict[str, Any]:
    return {"op": "cancel", "market_id": market.market_id, "order_id": quote.order_id}


def _place(market: SimulatedMarket, quote: Quote) -> dict[str, Any]:
    return {
        "market_id": market.market_id,
        "outcome": quote.outcome,
        "side": quote.side,
        "price": format_pips(quote.price_pips),
        "quantity": quote.quantity_shares,
    }
