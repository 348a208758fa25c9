"""Orders over HTTP, through either lane, by wrk: authenticated, paid for, matched and durable, every process running.

What wrk saw answered with 2xx is held against the order events in the log.
"""

import json
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg

from ops.bench.open_loop import RateRun, offer
from ops.bench.stage import OPERATOR, Stage, StageError

PROCESSES = ("web", "live", "engine", "projector", "settlement", "market", "notify", "report", "beat")
SCRIPT = Path(__file__).with_name("orders.lua")
RIVAL_SCRIPT = Path(__file__).with_name("gateway.lua")
READS_SCRIPT = Path(__file__).with_name("reads.lua")
IDLE_SCRIPT = Path(__file__).with_name("report.lua")
IDLE_PATHS = {"web": "/health", "live": "/ws/health"}
LANE_NAMES = {"web": "web lane", "live": "fast lane"}

KEYS = 32
MARKETS = 64
DEPOSIT = "1000000.0000"
THREADS = 2
SETTLE_SECONDS = 10.0
CATCH_UP_SECONDS = 60.0


def wrk_is_installed() -> bool:
    return shutil.which("wrk") is not None


@dataclass(frozen=True, slots=True)
class HttpRun:
    """One run of wrk, and the order events that came of it."""

    connections: int
    seconds: float
    requests: int
    accepted: int
    refused: int
    socket_errors: int
    p50_ms: float
    p99_ms: float
    orders: int = 0
    caught_up_s: float = 0.0

    @property
    def accepted_per_s(self) -> float:
        return self.accepted / self.seconds

    @property
    def orders_per_s(self) -> float:
        return self.orders / self.seconds


class HttpStage:
    """A running exchange with traders and markets made through its API. Use `open_http_stage`."""

    def __init__(self, stage: Stage, database: str) -> None:
        self._stage = stage
        self._connection: psycopg.Connection[Any] = stage.connect(database)
        self._targets = stage.folder / "targets.txt"
        staff = stage.manage(database, "create_api_key", OPERATOR, "--scopes", "read,trade,admin").split()[-1]
        self.web_url = stage.base_url("web")
        self.staff_headers = {"Authorization": f"Bearer {staff}"}
        with httpx.Client(base_url=f"{self.web_url}/api/v1", timeout=30) as client:
            self._keys = [_new_trader(client) for _ in range(KEYS)]
        self._markets = [new_market(self, str(number)) for number in range(MARKETS)]
        self._targets.write_text(f"{' '.join(self._keys)}\n{' '.join(self._markets)}\n")

    def close(self) -> None:
        self._connection.close()

    def orders(self, lane: str, *, connections: int, seconds: float, items: int = 0) -> HttpRun:
        """Single orders, or batches of `items` orders, through a lane."""
        prefix = f"b{secrets.token_hex(4)}"
        url = self._stage.base_url(lane)
        run = _wrk(SCRIPT, url, connections, seconds, str(self._targets), prefix, str(items))
        caught_up_s = self._caught_up_s()
        return HttpRun(**run, orders=self._committed(prefix), caught_up_s=caught_up_s)

    def at_rate(self, lane: str, *, per_s: float, seconds: float) -> tuple[RateRun, int]:
        """Single orders at a fixed rate, and the order events that came of them."""
        prefix = f"r{secrets.token_hex(4)}"
        run = self.offer(lane, keys=self._keys, per_s=per_s, seconds=seconds, prefix=prefix)
        return run, self._committed(prefix)

    def offer(self, lane: str, *, keys: list[str], per_s: float, seconds: float, prefix: str = "") -> RateRun:
        """The same by others, without a look at the log."""
        url, prefix = self._stage.base_url(lane), prefix or f"r{secrets.token_hex(4)}"
        return offer(url, keys=keys, markets=self._markets, per_s=per_s, seconds=seconds, prefix=prefix)

    def reads(self, lane: str, path: str, *, connections: int, seconds: float) -> HttpRun:
        """Reads of a path below /api/v1; MARKET in it is each of the markets in turn."""
        markets = self._markets if "MARKET" in path else []
        url = self._stage.base_url(lane)
        return HttpRun(**_wrk(READS_SCRIPT, url, connections, seconds, path, *markets))

    def idle(self, lane: str, *, connections: int, seconds: float) -> HttpRun:
        """Requests that do nothing, on the same server: what the lane's HTTP alone allows."""
        url = self._stage.base_url(lane) + IDLE_PATHS[lane]
        return HttpRun(**_wrk(IDLE_SCRIPT, url, connections, seconds))

    def _caught_up_s(self) -> float:
        """Seconds until every read model has all that is in the log now; infinite past CATCH_UP_SECONDS."""
        begin = time.perf_counter()
        heads = dict(self._connection.execute("SELECT slot, next_offset FROM slot").fetchall())
        while time.perf_counter() - begin < CATCH_UP_SECONDS:
            rows = self._connection.execute("SELECT slot, next_offset FROM projection_checkpoint").fetchall()
            if all(offset >= heads[slot] for slot, offset in rows):
                return time.perf_counter() - begin
            time.sleep(0.05)
        return float("inf")

    def _committed(self, prefix: str) -> int:
        """Order events of a run, once what wrk left on the way has settled."""
        deadline = time.monotonic() + SETTLE_SECONDS
        before, now = -1, self._count(prefix)
        while before != now and time.monotonic() < deadline:
            time.sleep(0.3)
            before, now = now, self._count(prefix)
        return now

    def _count(self, prefix: str) -> int:
        row = self._connection.execute(
            "SELECT count(*) FROM event WHERE slot < 16 AND type IN ('order_placed/1', 'order_rejected/1') "
            "AND starts_with(data->>'client_order_id', %s)",
            [f"{prefix}-"],
        ).fetchone()
        assert row is not None
        return int(row[0])


@contextmanager
def open_http_stage(stage: Stage, database: str) -> Iterator[HttpStage]:
    """Every process of the exchange, and what the load needs in it."""
    with stage.processes(database, *PROCESSES):
        ready = HttpStage(stage, database)
        try:
            yield ready
        finally:
            ready.close()


def rival_orders(url: str, *, connections: int, seconds: float) -> HttpRun:
    """Single orders to the gateway of another engine."""
    return HttpRun(**_wrk(RIVAL_SCRIPT, url, connections, seconds))


def _new_trader(client: httpx.Client) -> str:
    """A key with DEPOSIT behind it."""
    body = {"username": f"bench_{secrets.token_hex(5)}", "password": secrets.token_urlsafe(12)}
    key = str(_created(client.post("/register", json=body))["api_key"])
    headers = {"Authorization": f"Bearer {key}"}
    _created(client.post("/account/deposit", json={"amount": DEPOSIT}, headers=headers))
    return key


def new_market(stage: HttpStage, name: str) -> str:
    """A market of its own, through the API; answers its id."""
    body = {
        "question": f"Will benchmark market {name} be settled by its closing time?",
        "resolution_criteria": "It never is: the servers it lives on are thrown away.",
        "category": "bench",
        "outcomes": ["Yes", "No"],
        "closes_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86_400)),
    }
    url = f"{stage.web_url}/api/v1/markets"
    made = _created(httpx.post(url, json=body, headers=stage.staff_headers, timeout=30))
    return str(made["market_id"])


def _created(response: httpx.Response) -> dict[str, Any]:
    if response.status_code != 201:
        raise StageError(f"{response.request.url}: {response.status_code} {response.text[:500]}")
    return dict(response.json())


def _wrk(script: Path, url: str, connections: int, seconds: float, *arguments: str) -> dict[str, Any]:
    whole = max(1, round(seconds))
    command = [
        "wrk",
        f"-t{THREADS}",
        f"-c{connections}",
        f"-d{whole}s",
        "--timeout",
        "10s",
        "-s",
        str(script),
    ]
    done = subprocess.run(
        [*command, url, "--", *arguments], capture_output=True, text=True, timeout=whole + 60, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode != 0 or not lines:
        raise StageError(f"wrk failed: {done.stdout[-500:]} {done.stderr[-500:]}")
    found = json.loads(lines[-1].removeprefix("RESULT "))
    return {
        "connections": connections,
        "seconds": found["duration_us"] / 1e6,
        "requests": found["requests"],
        "accepted": found["requests"] - found["refused"],
        "refused": found["refused"],
        "socket_errors": found["socket_errors"] + found["timeouts"],
        "p50_ms": found["p50_us"] / 1e3,
        "p99_ms": found["p99_us"] / 1e3,
    }
