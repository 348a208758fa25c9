"""One simulated exchange: gateways, bus, shards and log under one clock, everything that happens out of one seed."""

import asyncio
import contextlib
import dataclasses
import hashlib
import random
import uuid
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import greenlet
import psycopg

from tests.simulation.auditor import Auditor, Violation
from tests.simulation.bus import Bus, Client, FakeAioredis, FakeSubscriber
from tests.simulation.clock import Process, VirtualLoop, Writers
from tests.simulation.database import Server
from tests.simulation.tables import CashRow
from tests.simulation.traffic import Traffic
from trading import gateway as gateway_module
from trading import ids
from trading.gateway import Gateway
from trading.shard import commit as commit_module
from trading.shard import crash_points, faults, inbox, process, slots, tenure
from trading.shard.process import Shard
from trading.snapshots.take import take_snapshot

ACCOUNTS = 10
RICH_PIPS, POOR_PIPS = 20_000_000, 400_000
LONGEST_US = 600_000_000
CALM_US = 14_000_000
HOST = "sim"
FREEZES_US = (300_000, 5_600_000, 9_000_000, 9_000_000)
IN_A_BATCH = (
    "after_read", "before_reserve", "after_reserve", "before_match", "after_match", "before_commit",
    "between_copy_and_commit", "after_commit", "before_publish", "between_books_and_replies",
)  # fmt: skip


@dataclasses.dataclass(slots=True)
class Report:
    """What a seed has shown."""

    seed: int
    digest: str = ""
    commands: int = 0
    events: int = 0
    virtual_s: float = 0.0
    crashes: dict[str, int] = dataclasses.field(default_factory=dict)
    reached: dict[str, int] = dataclasses.field(default_factory=dict)
    faults: dict[str, int] = dataclasses.field(default_factory=dict)
    told: dict[str, int] = dataclasses.field(default_factory=dict)
    kinds: dict[str, int] = dataclasses.field(default_factory=dict)
    failure: str = ""
    invariant: str = ""


class Chance:
    """Draws what goes wrong with one message. Rates differ from seed to seed; none once it is `calm`."""

    def __init__(self, rng: random.Random, counts: dict[str, int]) -> None:
        self._rng = rng
        self._counts = counts
        self.is_calm = False
        level = rng.choice((0.0, 0.001, 0.004, 0.01))
        self._statement, self._call, self._message, self._frame = (level * rng.random() for _ in range(4))
        self._message *= 4
        self._frame *= 10
        self.feed = level * 2

    def _draw(self, kind: str, rate: float) -> bool:
        if self.is_calm or self._rng.random() >= rate:
            return False
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return True

    def of_statement(self) -> str | None:
        if self._draw("statement lost", self._statement):
            return "lost before"
        return "lost after" if self._draw("statement's answer lost", self._statement) else None

    def of_call(self) -> str | None:
        if self._draw("Valkey call lost", self._call):
            return "lost before"
        return "lost after" if self._draw("Valkey answer lost", self._call) else None

    def of_message(self) -> int | None:
        if self._draw("outcome dropped", self._message):
            return None
        return self._rng.randint(10, 500) if not self._draw("outcome late", self._message) else 1_500_000

    def of_frame(self) -> list[int]:
        """When a frame arrives, as often as it does."""
        if self._draw("frame dropped", self._frame):
            return []
        if self._draw("frame repeated", self._frame):
            return [0, self._rng.randint(1, 300_000)]
        return [self._rng.randint(1, 400_000)] if self._draw("frame overtaken", self._frame) else [0]

    def is_feed_lost(self) -> bool:
        return self._draw("feed message dropped", self.feed)


class SimulatedShard(Shard):
    """The shard, with threads and doubts that the simulation sees."""

    def __init__(self, world: "World", machine: Process, skew_us: int) -> None:
        client = Client(world.bus, machine)
        super().__init__(
            shard_id=machine.name, connect=lambda: world.server.connect(machine), bus=client, feed=client,
            clock_us=lambda: world.loop.now_us + skew_us,
        )  # fmt: skip
        self._writers = Writers(machine)
        self.machine = machine
        self._world = world

    def _doubt(self, error: Exception) -> None:
        self._world.doubted(self, error)
        super()._doubt(error)

    @property
    def tenure(self) -> Any:
        return self._tenure


class World:
    """A seed's exchange. `run` answers its report; a broken invariant is in there, not raised."""

    def __init__(
        self, seed: int, commands: int, *, trace: Callable[[str], object] | None = None,
        change: Callable[["World"], object] = lambda world: None,
    ) -> None:  # fmt: skip
        self.skew_us = 50_000  # how far a shard's clock is off, at most
        self.change = change  # what a test does to the world, once the code under test is in its place
        self.loop = VirtualLoop()
        self.report = Report(seed, commands=commands)
        self.rng = random.Random(f"world {seed}")
        self.chance = Chance(random.Random(f"faults {seed}"), self.report.faults)
        self.server = Server(self.loop, random.Random(f"database {seed}"), self.chance)
        self.bus = Bus(self.loop, random.Random(f"bus {seed}"), self.chance)
        self.shards: list[SimulatedShard] = []
        self.gateways: list[Gateway] = []
        self.gateway_tasks: list[asyncio.Task[Any]] = []
        self._trace = trace
        self._hash = hashlib.sha256()
        self._ids = random.Random(f"ids {seed}")
        self._last_id = 0
        self._armed: str | None = None
        self._freezes_at: str | None = None
        # Two points at which this seed crashes in any case, so that those rarely reached have their turn as well.
        points, first = crash_points.POINTS, 2 * seed
        self._due = {points[n % len(points)]: self.rng.randint(1, 4) for n in (first, first + 1)}
        self._shards_made = 0
        self._wanted_shards = self.rng.choice((2, 2, 3))
        self._lost_feeds = False
        accounts = [self.new_id() for _ in range(ACCOUNTS)]
        deposits = {a: RICH_PIPS if n < 7 else POOR_PIPS for n, a in enumerate(accounts)}
        for account, pips in deposits.items():
            self.server.tables.cash[account] = CashRow(pips)
        self.auditor = Auditor(self.server.tables, deposited_pips=sum(deposits.values()), log=self.log)
        self.server.on_commit = self.auditor.committed
        self.bus.on_feed = self._feed
        self.traffic = Traffic(
            self.loop, random.Random(f"traffic {seed}"), auditor=self.auditor, gateways=self.gateways,
            accounts=accounts, markets=5, commands=commands,
        )  # fmt: skip

        if any(name.endswith("bury") for name in self._due):
            self.traffic.poison_left = 3
            self._due = dict.fromkeys(self._due, 1)

    # --- What the code under test is given ----------------------------------------------------------

    def new_id(self) -> str:
        """A UUIDv7 of this clock and this seed, later than all before it."""
        at_ms = self.loop.now_us // 1000
        value = at_ms << 80 | 7 << 76 | 2 << 62 | self._ids.getrandbits(62)
        self._last_id = max(self._last_id + 1, value)
        return str(uuid.UUID(int=self._last_id))

    def log(self, line: str) -> None:
        text = f"{self.loop.now_us} {line}"
        self._hash.update(text.encode())
        if self._trace is not None:
            self._trace(text)

    def _feed(self, message: bytes) -> None:
        if self.chance.is_feed_lost():
            self._lost_feeds = True
        else:
            self.auditor.heard(message, self._book)

    def _book(self, market_id: str) -> dict[str, Any]:
        return self.bus.hashes.get(f"book:{market_id}", {})

    def doubted(self, shard: SimulatedShard, error: Exception) -> None:
        self.log(f"doubt {shard.shard_id} {type(error).__name__}")
        self.report.faults["doubts"] = self.report.faults.get("doubts", 0) + 1
        if not faults.is_outage(error) and type(error).__name__ != "UntranslatableCharacter":
            self.loop.fail(error)

    # --- Processes ----------------------------------------------------------------------------------

    def start_shard(self) -> None:
        self._shards_made += 1
        name = f"{HOST if self._shards_made % 2 else 'other'}:{self._shards_made}:{self._ids.getrandbits(24):06x}"
        machine = Process(self.loop, name)
        shard = SimulatedShard(self, machine, self.rng.randint(-self.skew_us, self.skew_us))
        self.shards.append(shard)
        machine.on_end.append(lambda: self._ended(shard))
        self.log(f"start {name}")
        machine.start(self._live, shard)

    def _live(self, shard: SimulatedShard) -> None:
        shard.run()
        shard.machine.kill()

    def _ended(self, shard: SimulatedShard) -> None:
        if shard in self.shards:
            self.shards.remove(shard)
            self.loop.after(self.rng.choice((1000, 300_000, 2_000_000)), self._refill)

    def _refill(self) -> None:
        if len(self.shards) < self._wanted_shards:
            self.start_shard()

    def _reached(self, name: str) -> None:
        reached = self.report.reached
        reached[name] = reached.get(name, 0) + 1
        if name == self._freezes_at:
            self._freezes_at = None
            machine = self._current()
            machine.frozen_until_us = self.loop.now_us + self.rng.choice(FREEZES_US)
            self.log(f"frozen {machine.name} at {name}")
            machine.pause(0)
        is_due = False
        if name in self._due:
            self._due[name] -= 1
            if is_due := self._due[name] <= 0:
                del self._due[name]
        if name == self._armed or is_due:
            self._armed = None
            machine = self._current()
            self.report.crashes[name] = self.report.crashes.get(name, 0) + 1
            self.log(f"crash {machine.name} at {name}")
            machine.kill()

    def _current(self) -> Process:
        thread = greenlet.getcurrent()
        for shard in self.shards:
            if thread in shard.machine._threads:
                return shard.machine
        raise AssertionError("a crash point was reached outside of all processes")

    async def start_gateway(self) -> None:
        gateway = Gateway("bus")
        await gateway.start()
        self.gateways.append(gateway)

    def _worker(self, machine: Process) -> None:
        """Takes snapshots of markets in turn, as the worker does; after an outage it begins again."""
        number = 0
        while True:
            machine.pause(1_500_000)
            with contextlib.suppress(psycopg.Error):
                session = self.server.connect(machine)
                for _ in range(2):
                    number += 1
                    markets = [market_id for market_id, _ in self.traffic.markets]
                    if markets:
                        version = take_snapshot(session.cursor(), markets[number % len(markets)])
                        self.log(f"snapshot {version}")
                        self.report.faults["snapshots"] = self.report.faults.get("snapshots", 0) + 1
                session.close()

    # --- What happens to it -------------------------------------------------------------------------

    async def _trouble(self) -> None:
        """Crashes, freezes, restarts and outages, one after another."""
        rng, counts = self.rng, self.report.faults
        while True:
            await asyncio.sleep(rng.expovariate(1 / 2.5))
            roll = rng.random()
            if roll < 0.62:
                self._armed = rng.choice(crash_points.POINTS)
                self.log(f"arm {self._armed}")
                continue
            if not self.shards:
                continue
            shard = rng.choice(self.shards)
            if roll < 0.74:
                # In the middle of something: what it wakes up with is a batch of the past.
                kind, self._freezes_at = (
                    "freeze",
                    rng.choice(IN_A_BATCH if rng.random() < 0.7 else crash_points.POINTS),
                )
            elif roll < 0.82:
                kind, shard.stopping = "clean stop", True
            elif roll < 0.86:
                kind = "kill"
                shard.machine.kill()
            elif roll < 0.90:
                kind = "Valkey wiped"
                self.bus.wipe()
            elif roll < 0.93:
                kind = "Valkey away"
                self.bus.is_down = True
                self.bus.cut()
                self.loop.after(rng.choice((100_000, 1_500_000)), self._bus_back)
            elif roll < 0.95 and len(self.gateways) > 1:
                # Its clients hear nothing any more, and give up when others would be told 504.
                kind = "gateway gone"
                await self.gateways.pop(rng.randrange(len(self.gateways))).stop()
                await self.start_gateway()
            elif roll < 0.97:
                kind = "PostgreSQL stopped"
                self.server.stop()
                self.loop.after(rng.choice((100_000, 1_500_000)), self._server_back)
            else:
                kind = "another shard"
                self._wanted_shards = 5 - self._wanted_shards  # 2 or 3
                self._refill()
            counts[kind] = counts.get(kind, 0) + 1
            self.log(kind)

    def _bus_back(self) -> None:
        self.bus.is_down = False

    def _server_back(self) -> None:
        self.server.is_down = False

    async def _look(self) -> None:
        """Compares what shards at rest have in memory with the log."""
        while True:
            await asyncio.sleep(3.0)
            self.check_memories()

    def check_memories(self) -> None:
        tables = self.server.tables
        for shard in self.shards:
            own = shard.tenure
            if own is None or own._untold or own._jobs:
                continue
            for slot, owned in own.slots.items():
                row = tables.slots[slot]
                if (row.owner, row.epoch, row.next_offset) == (
                    shard.shard_id,
                    owned.epoch,
                    owned.next_offset,
                ):
                    self.auditor.check_memory(shard.shard_id, slot, own.markets.loaded)

    async def _course(self) -> None:
        try:
            for _ in range(self.rng.choice((1, 2, 3))):
                await self.start_gateway()
            trouble, looks = asyncio.create_task(self._trouble()), asyncio.create_task(self._look())
            await self.traffic.run(clients=6)
            trouble.cancel()
            self.chance.is_calm = True
            self._armed, self._freezes_at, self._due = None, None, {}
            await asyncio.sleep(CALM_US / 1e6)
            await self.traffic.probe()
            await asyncio.sleep(0.5)
            looks.cancel()
            for gateway in self.gateways:
                await gateway.stop()
            self.auditor.finish(self._book, self._lost_feeds)
            self.auditor.check_streams(self.bus.streams, self.bus.last_ids)
            self.check_memories()
            self.loop.stop()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self.loop.fail(error)

    def run(self) -> Report:
        """The seed from begin to end."""
        report = self.report
        worker = Process(self.loop, "worker")
        with given(self):
            self.change(self)
            worker.start(self._worker, worker)
            for _ in range(self._wanted_shards):
                self.start_shard()
            task = self.loop.create_task(self._course())
            try:
                self.loop.run(self.loop.now_us + LONGEST_US)
                if not task.done() and not self.loop._is_stopping:
                    raise Violation("comes to an end", f"not done after {LONGEST_US / 1e6:.0f} s")
            except Exception as error:
                report.failure = f"{type(error).__name__}: {error}"
                report.invariant = getattr(error, "name", type(error).__name__)
                if self._trace is not None:
                    raise
            finally:
                worker.kill()
                for shard in list(self.shards):
                    self.shards.remove(shard)
                    with contextlib.suppress(BaseException):
                        shard.machine.kill()
        report.events, report.told, report.kinds = self.auditor.events, self.traffic.told, self.auditor.kinds
        report.virtual_s = (self.loop.now_us - 1_800_000_000_000_000) / 1e6
        report.digest = hashlib.sha256(self._hash.digest() + self.auditor.digest().encode()).hexdigest()[:16]
        return report


@contextlib.contextmanager
def given(world: World) -> Iterator[None]:
    """The real code with this world's time, ids, threads, bus and sizes; all of it is taken back at the end."""
    loop = world.loop

    def sleep(seconds: float) -> None:
        world._current().pause(round(seconds * 1e6))

    clock = SimpleNamespace(
        time=loop.time,
        monotonic=loop.time,
        perf_counter=loop.time,
        time_ns=lambda: loop.now_us * 1000,
        sleep=sleep,
    )

    def wait(jobs: Any) -> None:
        for shard in world.shards:
            if shard.machine is world._current():
                shard._writers.wait(jobs)
                return

    def kill(pid: int, signal: int) -> None:
        """Only the living can be sent a signal, on a host where all of them are."""
        if not any(shard.shard_id.split(":")[1] == str(pid) for shard in world.shards):
            raise ProcessLookupError

    futures = SimpleNamespace(
        futures=SimpleNamespace(wait=wait, ThreadPoolExecutor=lambda *a, **k: None, Future=object)
    )
    changes: list[tuple[Any, str, Any]] = [
        (process, "time", clock), (tenure, "time", clock), (gateway_module, "time", clock),
        (process, "concurrent", futures), (tenure, "concurrent", futures),
        (gateway_module, "Subscriber", FakeSubscriber), (gateway_module, "aioredis", FakeAioredis),
        (ids, "uuid7", world.new_id), (slots, "THIS_HOST", HOST), (slots, "os", SimpleNamespace(kill=kill)),
        # So small that everything happens within a few hundred commands.
        (tenure, "LONG_QUEUE", 8), (inbox, "MAX_BATCH_COMMANDS", 30), (commit_module, "MOST_IN_ARRAYS", 20),
        (tenure.measure, "batch", lambda *a, **k: None),
    ]  # fmt: skip
    FakeSubscriber.bus = FakeAioredis.bus = world.bus
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in changes]
    for owner, name, value in changes:
        setattr(owner, name, value)
    crash_points.watch(world._reached)
    try:
        yield
    finally:
        crash_points.watch(None)
        for owner, name, value in before:
            setattr(owner, name, value)
