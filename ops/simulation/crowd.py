"""The crowd: traders who come at random, each with its own idea of what an outcome is worth.

Most take what the book offers up to their price; some leave an order there. Whoever runs out of play
money pays more in.
"""

import asyncio
import logging
from collections import deque
from random import Random
from typing import Any

from ops.simulation.client import Answer, Caller, Client
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

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.resting: deque[tuple[str, str]] = deque()


class Crowd:
    """Traders arrive as a Poisson process, `rate` a second in all, and each places one order."""

    def __init__(self, client: Client, markets: Markets, rng: Random, *, rate: float) -> None:
        self._client = client
        self._markets = markets
        self._rng = rng
        self._rate = rate
        self._traders: list[Trader] = []
        self._busy = asyncio.Semaphore(AT_ONCE)
        self.placed = self.filled = 0

    async def join(self, caller: Caller) -> None:
        """A trader with money; it trades from now on."""
        answer = await self._client.get("/account", caller)
        if answer.is_good and parse_pips(answer.body["cash"]) < LOW_CASH_PIPS:
            await self._pay_in(caller)
        self._traders.append(Trader(caller))

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
            body = self._order(market)
            path = f"/markets/{market.market_id}/orders"
            answer = await self._client.order(trader.caller, path, body)
            self.placed += 1
            await self._react(trader, market, body, answer)
        finally:
            self._busy.release()

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
            "client_order_id": self._client.new_client_id(),
        }

    async def _react(
        self, trader: Trader, market: SimulatedMarket, body: dict[str, Any], answer: Answer
    ) -> None:
        if answer.is_good:
            self.filled += bool(answer.body["filled"])
            if answer.body["status"] == "open":
                trader.resting.append((market.market_id, body["client_order_id"]))
                if len(trader.resting) > RESTING_ORDERS:
                    await self._withdraw(trader)
        elif answer.code == "exceeds_available_cash":
            await self._pay_in(trader.caller)
        elif answer.code == "market_not_open":
            self._markets.drop(market)
        else:
            log.warning(
                "an order of %s is answered %s %s", trader.caller.username, answer.status, answer.body
            )

    async def _withdraw(self, trader: Trader) -> None:
        """Take the oldest order out of the book; that it may be gone already does not matter."""
        market_id, client_order_id = trader.resting.popleft()
        item = {"op": "cancel", "market_id": market_id, "client_order_id": client_order_id}
        await self._client.order(trader.caller, "/orders/batch", {"orders": [item]})

    async def _pay_in(self, caller: Caller) -> None:
        await self._client.pay_in(caller, format_pips(self._rng.randrange(200, 5_000) * 10_000))
