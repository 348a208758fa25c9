"""The simulation as a whole: who takes part, and how it ends."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import httpx

from examples.pmarket_client import ANSWER_TIMEOUT_S, Client, Journal
from ops.simulation.crowd import Crowd
from ops.simulation.maker import Maker
from ops.simulation.markets import Markets
from ops.simulation.pace import Pace
from ops.simulation.people import MAKER, maker_key, trader_key, trader_name

log = logging.getLogger(__name__)

logging.getLogger("httpx").setLevel(logging.WARNING)  # It would tell of each request.

CROWDS_SHARE = 0.6
"""Of the orders, how many are the crowd's; the rest are the maker's."""

MAKERS_PACE, TRADERS_PACE = (20.0, 20), (2.0, 4)
"""(requests a second, burst), well below the exchange's limits for their keys."""

LOOK_AT_MARKETS_S = 15.0
REPORT_EVERY_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be simulated. `rate` is orders a second in all, `duration_s` None means until told to stop."""

    url: str
    orders_url: str
    journal: Path
    priors: Mapping[str, Sequence[float]]
    seed: int
    rate: float
    traders: int
    most_markets: int | None
    duration_s: float | None


class Door:
    """The exchange as everybody here sees it: one pool of connections, one journal, a client each."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._http = httpx.AsyncClient(timeout=ANSWER_TIMEOUT_S, trust_env=False)
        self._journal = Journal(plan.journal)

    async def client(self, name: str, key: str, pace: tuple[float, int]) -> Client:
        """A client that tries for ever, once it has sent again what an earlier process left over."""
        client = Client(
            self._plan.url,
            key,
            orders_url=self._plan.orders_url,
            journal=self._journal,
            name=name,
            patience_s=None,
            pace=Pace(*pace).take,
            http=self._http,
        )
        for settled in await client.recover(trade_late=True):
            log.info("left over: %s of %s is %s", settled.write.path, name, settled.outcome)
        return client

    async def close(self) -> None:
        await self._http.aclose()
        self._journal.close()


async def play(plan: Plan, say: Callable[[str], object]) -> None:
    """Run until SIGTERM, SIGINT or the end of the duration. What was in flight then is sent again next time."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    door = Door(plan)
    simulation = asyncio.create_task(_simulate(plan, door, say))
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait(
            [simulation, stopped], timeout=plan.duration_s, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        stopped.cancel()
        simulation.cancel()
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await simulation
        finally:
            await door.close()


async def _simulate(plan: Plan, door: Door, say: Callable[[str], object]) -> None:
    rng = Random(plan.seed)  # noqa: S311  (it plays dice, it keeps no secret)
    client = await door.client(MAKER, await maker_key(), MAKERS_PACE)
    markets = Markets(client, plan.priors, rng, plan.most_markets)
    await _wait_for_markets(markets)
    say(f"simulating {len(markets)} markets with {plan.traders} traders, {plan.rate:g} orders a second")
    maker = Maker(client, markets, rate=plan.rate * (1 - CROWDS_SHARE))
    crowd = Crowd(markets, rng, rate=plan.rate * CROWDS_SHARE)
    async with asyncio.TaskGroup() as group:
        group.create_task(maker.run())
        group.create_task(crowd.run())
        group.create_task(_gather_crowd(plan, door, crowd))
        group.create_task(_watch_markets(markets))
        group.create_task(_report(maker, crowd, say))


async def _wait_for_markets(markets: Markets) -> None:
    """The exchange may still be starting, and its demo being made."""
    await markets.look()
    while not len(markets):
        await asyncio.sleep(1.0)
        await markets.look()


async def _gather_crowd(plan: Plan, door: Door, crowd: Crowd) -> None:
    """Traders join one after the other: making a user takes a moment, and others trade meanwhile."""
    for number in range(1, plan.traders + 1):
        key = await trader_key(number)
        await crowd.join(await door.client(trader_name(number), key, TRADERS_PACE))


async def _watch_markets(markets: Markets) -> None:
    while True:
        await asyncio.sleep(LOOK_AT_MARKETS_S)
        await markets.look()


async def _report(maker: Maker, crowd: Crowd, say: Callable[[str], object]) -> None:
    while True:
        await asyncio.sleep(REPORT_EVERY_S)
        say(f"{maker.placed} quotes; {crowd.placed} orders of traders, {crowd.filled} of them filled")
