"""The crowd: traders who come at random, each with its own idea of what an outcome is worth.

Most take what the book offers up to their price; some leave an order there. Whoever runs out of play
money pays more in.
"""

import asyncio
import logging
from collections import deque
from random import Random
from typing import Any

from examples.pmarket_client import Client, Problem, Refused
from ops.simulation.markets import Markets, SimulatedMarket
from trading.money import format_pips, parse_pips

log = logging.getLogger(__name__)

NOISE = 0.3
"""How differently traders see things, in log-odds: seven cents at even odds."""

PATIENT_E2 = 30
"""Of a hundred traders, how many leave an order in the book."""

RESTING_ORDERS = 4
LARGEST_ORDER = 300
LOW_CASH_PIPS = 500_000
AT_ONCE = 16
SHARE_PIPS = 10_000


class Trader:
    """One of the crowd, with the orders it has left in the book, oldest first."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.resting: deque[tuple[str, str]] = deque()


class Crowd:
    """Traders arrive as a Poisson process, `rate` a second in all, and each places one order."""

    def __init__(self, markets: Markets, rng: Random, *, rate: float) -> None:
        self._markets = markets
        self._rng = rng
        self._rate = rate
        self._traders: list[Trader] = []
        self._busy = asyncio.Semaphore(AT_ONCE)
        self.placed = self.filled = 0

    async def join(self, client: Client) -> None:
        """A trader with money; it trades from now on."""
        try:
            account = await client.get("/account")
            if parse_pips(account["cash"]) < LOW_CASH_PIPS:
                await self._pay_in(client)
        except Problem as problem:
            log.warning("%s cannot pay in: %s", client.name, problem)
        self._traders.append(Trader(client))

    async def run(self) -> None:
        """Trade until cancelled."""
        async with asyncio.TaskGroup() as acts:
            while True:
                await asyncio.sleep(self._rng.expovariate(self._rate))
                if self._traders and len(self._markets):
                    await self._busy.acquire()
                    acts.create_task(self._act(self._rng.choice(self._traders), self._markets.choose()))

    async def _act(self, trader: Trader, market: SimulatedMarket) -> None:
        try:
            await self._trade(trader, market)
        except Problem as problem:
            log.warning("a request of %s is answered %s", trader.client.name, problem)
        finally:
            self._busy.release()

    async def _trade(self, trader: Trader, market: SimulatedMarket) -> None:
        try:
            order = await trader.client.place(market.market_id, **self._order(market))
        except Refused as refusal:
            self.placed += 1
            await self._take_no(trader, market, refusal)
            return
        self.placed += 1
        self.filled += bool(order["filled"])
        if order["status"] == "open":
            await self._let_rest(trader, market, order["order_id"])

    def _order(self, market: SimulatedMarket) -> dict[str, Any]:
        """Buy what looks cheap, sell what looks dear, at the price it looks worth."""
        index = self._rng.randrange(len(market.outcomes))
        fair, seen = market.prices_now()[index], market.prices_now(NOISE)[index]
        side = "buy" if seen > fair else "sell"
        tick = market.tick_pips
        price = seen // tick * tick if side == "buy" else -(-seen // tick) * tick
        is_patient = self._rng.randrange(100) < PATIENT_E2
        return {
            "outcome": market.outcomes[index],
            "side": side,
            "price": format_pips(min(max(price, tick), SHARE_PIPS - tick)),
            "quantity": min(max(round(self._rng.lognormvariate(3.0, 0.9)), 1), LARGEST_ORDER),
            "time_in_force": "GTC" if is_patient else "IOC",
        }

    async def _let_rest(self, trader: Trader, market: SimulatedMarket, order_id: str) -> None:
        """Leave an order in the book; the oldest one goes, and that it may be gone already does not matter."""
        trader.resting.append((market.market_id, order_id))
        if len(trader.resting) > RESTING_ORDERS:
            market_id, oldest = trader.resting.popleft()
            await trader.client.batch([{"op": "cancel", "market_id": market_id, "order_id": oldest}])

    async def _take_no(self, trader: Trader, market: SimulatedMarket, refusal: Refused) -> None:
        if refusal.code == "exceeds_available_cash":
            await self._pay_in(trader.client)
        elif refusal.code == "market_not_open":
            self._markets.drop(market)
        else:
            raise refusal

    async def _pay_in(self, client: Client) -> None:
        await client.deposit(format_pips(self._rng.randrange(200, 5_000) * 10_000))
