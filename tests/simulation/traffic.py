"""Clients of a simulated exchange: the whole command set, with repetitions, in bursts."""

import asyncio
import random
from typing import Any

from msgspec import structs

from tests.simulation.clock import VirtualLoop
from trading.engine import commands as cmd
from trading.gateway import NOBODY, Gateway, seal
from trading.ids import new_id
from trading.wire import Envelope, Outcome

TICK_PIPS = 100
FAR_US = 4_000_000_000_000_000
OUTCOMES = (("Yes", "No"), ("Yes", "No"), ("Red", "Green", "Blue"), ("N", "E", "S", "W"))


class Traffic:
    """Sends `commands` commands through whatever gateway is there."""

    def __init__(
        self, loop: VirtualLoop, rng: random.Random, *, auditor: Any, gateways: list[Gateway], accounts: list[str],
        markets: int, commands: int,
    ) -> None:  # fmt: skip
        self.markets: list[tuple[str, int]] = []  # (id, outcomes)
        self.left = commands
        self.told: dict[str, int] = {}  # answers by kind
        self.poison_left = 1 if rng.random() < 0.25 else 0
        self._loop = loop
        self._rng = rng
        self._auditor = auditor
        self._gateways = gateways
        self._accounts = accounts
        self._wanted_markets = markets
        self._number = 0
        self._open: dict[str, list[tuple[str, str, str | None]]] = {a: [] for a in accounts}
        self._sent: list[tuple[cmd.Command, str, str]] = []  # (command, account, client id)

    async def run(self, clients: int) -> None:
        """Returns once every command has been sent and answered, or is known to be unknown."""
        for _ in range(self._wanted_markets):
            await self._new_market()
        await asyncio.gather(*(self._client() for _ in range(clients)), self._admin())

    async def probe(self) -> None:
        """Nothing goes wrong any more: every market has to answer."""
        commands = [
            cmd.CancelOrders(market_id, self._accounts[0], None, None) for market_id in self._auditor.markets
        ]
        envelopes = [self._sealed(command, self._accounts[0], None) for command in commands]
        for envelope, outcome in zip(envelopes, await self._send(envelopes), strict=True):
            self._auditor.check_answer(envelope, outcome)

    async def _client(self) -> None:
        rng = self._rng
        while self.left > 0:
            size = min(self.left, rng.choice((1, 1, 1, 2, 3, 8, 40)))
            self.left -= size
            if size == 40:  # a burst in one market
                market = rng.choice(self.markets)
                commands = [self._command(market) for _ in range(size)]
            else:
                commands = [self._command(rng.choice(self.markets)) for _ in range(size)]
            await self._send([self._sealed(*each) for each in commands])
            await asyncio.sleep(rng.expovariate(1 / 0.25))

    async def _send(self, envelopes: list[Envelope]) -> list[Outcome | None]:
        gateway = self._rng.choice(self._gateways)
        for envelope in envelopes:
            self._auditor.sent(envelope)
        outcomes = await gateway.send(envelopes)
        for envelope, outcome in zip(envelopes, outcomes, strict=True):
            self._auditor.answered(envelope, outcome)
            kind = outcome.kind if outcome is not None else "unknown"
            self.told[kind] = self.told.get(kind, 0) + 1
            if kind == "order" and type(envelope.command) is cmd.PlaceOrder and outcome.payload[14] == "open":
                mine = self._open[envelope.account_id]
                mine.append(
                    (envelope.command.market_id, envelope.command.order_id, envelope.command.client_order_id)
                )
                del mine[:-30]
        return outcomes

    def _sealed(self, command: cmd.Command, account_id: str, client_id: str | None) -> Envelope:
        self._number += 1
        command_id = command.order_id if type(command) is cmd.PlaceOrder else new_id()
        return seal(
            command, command_id=command_id, account_id=account_id, actor="simulation", request_id=f"r{self._number}",
            client_id=client_id,
        )  # fmt: skip

    # --- Commands -----------------------------------------------------------------------------------

    def _command(self, market: tuple[str, int]) -> tuple[cmd.Command, str, str | None]:
        rng = self._rng
        market_id, outcomes = market
        account = rng.choice(self._accounts)
        roll = rng.random()
        if roll < 0.06 and self._sent:
            return self._repetition()
        mine = self._open[account]
        if roll < 0.20 and mine:
            where, order_id, _ = rng.choice(mine)
            return cmd.CancelOrder(where, account, order_id, None), account, None
        if roll < 0.30 and mine:
            where, order_id, client_id = rng.choice(mine)
            named = (order_id, None) if client_id is None or rng.random() < 0.5 else (None, client_id)
            quantity = rng.choice((None, rng.randint(1, 40)))
            reduce_by = rng.randint(1, 5) if quantity is None and rng.random() < 0.5 else None
            price = (
                rng.randint(20, 80) * TICK_PIPS
                if quantity is reduce_by is None or rng.random() < 0.3
                else None
            )
            own_id = f"a{rng.getrandbits(40)}" if rng.random() < 0.5 else None
            amend = cmd.AmendOrder(where, account, *named, quantity, reduce_by, price)
            if own_id:
                self._sent.append((amend, account, own_id))
            return amend, account, own_id
        if roll < 0.33:
            side = rng.choice((None, "buy", "sell"))
            outcome = rng.choice((None, rng.randrange(outcomes)))
            fence = new_id() if rng.random() < 0.7 else None
            return cmd.CancelOrders(market_id, account, outcome, side, fence=fence), account, None
        return self._place(market_id, outcomes, account)

    def _repetition(self) -> tuple[cmd.Command, str, str | None]:
        """The same client id once more: mostly with the same command, sometimes with another."""
        rng = self._rng
        command, account, client_id = rng.choice(self._sent[-200:])
        if type(command) is cmd.PlaceOrder:
            changed = command.quantity_shares + (rng.random() < 0.2)
            command = structs.replace(command, order_id=new_id(), quantity_shares=changed)
        return command, account, client_id

    def _place(self, market_id: str, outcomes: int, account: str) -> tuple[cmd.Command, str, str | None]:
        rng = self._rng
        now_us = self._loop.now_us
        tif = rng.choice(("GTC", "GTC", "GTC", "GTC", "GTD", "IOC", "FOK"))
        is_market = tif in ("IOC", "FOK") and rng.random() < 0.4
        side = rng.choice(("buy", "sell"))
        middle = 50 if outcomes == 2 else 100 // outcomes
        price = min(99, max(1, middle + rng.randint(-9, 9))) * TICK_PIPS
        if rng.random() < 0.02:
            price += 1
        max_cost = None
        if is_market:
            price = 99 * TICK_PIPS if side == "buy" else TICK_PIPS
            if side == "buy" and tif == "IOC" and rng.random() < 0.5:
                max_cost = rng.randint(1, 40) * 10_000
        client_id = f"c{rng.getrandbits(48)}" if rng.random() < 0.5 else None
        if self.poison_left and rng.random() < 0.01:
            self.poison_left -= 1
            return cmd.PlaceOrder(
                market_id, account, new_id(), 0, "buy", "limit", price, 1, "GTC", "cancel_taker", "\0"
            ), account, None  # fmt: skip
        rests = tif in ("GTC", "GTD")
        command = cmd.PlaceOrder(
            market_id, account, new_id(), rng.randrange(outcomes), side, "market" if is_market else "limit", price,
            rng.choice((1, 5, 10, 25, 60)), tif, rng.choice(("cancel_taker", "cancel_maker", "cancel_both")), client_id,
            "simulation", rests and rng.random() < 0.1, rng.random() < 0.05, rng.choice(("keep", "keep", "cancel")),
            now_us + rng.randint(100_000, 20_000_000) if tif == "GTD" else None,
            now_us + rng.randint(1000, 3_000_000) if rng.random() < 0.05 else None, max_cost,
        )  # fmt: skip
        if client_id is not None:
            self._sent.append((command, account, client_id))
        return command, account, client_id

    # --- Markets ------------------------------------------------------------------------------------

    async def _new_market(self) -> None:
        market_id, names = new_id(), self._rng.choice(OUTCOMES)
        fees = self._rng.choice(((0, 0), (700, 0), (250, 100)))
        command = cmd.CreateMarket(market_id, "Will it?", names, "sim", TICK_PIPS, *fees, None, FAR_US)
        for _ in range(20):
            await self._as_admin(command)
            if market_id in self._auditor.markets:
                break
        self.markets.append((market_id, len(names)))

    async def _as_admin(self, command: cmd.Command) -> None:
        await self._send([self._sealed(command, NOBODY, None)])

    async def _admin(self) -> None:
        """Suspends and resumes; closes, resolves and voids, with a new market in each one's place."""
        rng = self._rng
        while self.left > 0:
            await asyncio.sleep(rng.expovariate(1 / 3.0))
            market_id, outcomes = rng.choice(self.markets)
            for paused, _ in self.markets:
                market = self._auditor.markets.get(paused)
                if market is not None and market.status == "suspended":
                    await self._as_admin(cmd.ResumeMarket(paused))
            roll = rng.random()
            if roll < 0.5:
                await self._as_admin(cmd.SuspendMarket(market_id, "a pause"))
                continue
            if roll < 0.65:
                await self._as_admin(cmd.CloseMarket(market_id))
            if roll < 0.85:
                payouts = [0] * outcomes
                payouts[rng.randrange(outcomes)] = 10_000
                await self._as_admin(cmd.ResolveMarket(market_id, tuple(payouts), new_id(), "seen"))
            else:
                await self._as_admin(cmd.VoidMarket(market_id, new_id(), "void"))
            await self._new_market()
            if len(self.markets) > self._wanted_markets:
                self.markets.remove((market_id, outcomes))
