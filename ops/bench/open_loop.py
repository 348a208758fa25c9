"""Orders at a fixed rate, whatever the answers take: each one's latency counts from when it was due, not from when a
connection was free to send it, so that a stall is seen by all that it delayed (no coordinated omission).
"""

import asyncio
import json
import random
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

CONNECTIONS = 64
LATEST_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class RateRun:
    """What came of it; latencies are of all answers, in ms."""

    offered: int
    accepted: int
    refused: int
    lost: int
    p50_ms: float
    p99_ms: float
    took_ms: list[float] = field(default_factory=list, repr=False)


def offer(
    base_url: str, *, keys: list[str], markets: list[str], per_s: float, seconds: float, prefix: str
) -> RateRun:
    """Sends single orders to a lane at `per_s`."""
    where = urlsplit(base_url)
    requests = order_requests(
        f"{where.hostname}:{where.port}",
        keys=keys,
        markets=markets,
        count=round(per_s * seconds),
        prefix=prefix,
    )
    return asyncio.run(_offer(str(where.hostname), int(where.port or 80), requests, per_s))


def order_requests(host: str, *, keys: list[str], markets: list[str], count: int, prefix: str) -> list[bytes]:
    """The same mix as orders.lua's: seven of ten rest around the middle, three cross it."""
    chance = random.Random(prefix)  # noqa: S311
    requests = []
    for number in range(count):
        is_buy = chance.random() < 0.5
        ticks = -chance.randint(1, 20) if chance.random() < 0.7 else 3
        price = 0.5 + (ticks if is_buy else -ticks) / 100
        body = json.dumps(
            {
                "outcome": "Yes",
                "side": "buy" if is_buy else "sell",
                "price": f"{price:.4f}",
                "quantity": chance.randint(1, 50),
                "client_order_id": f"{prefix}-{number}",
            }
        )
        requests.append(
            f"POST /api/v1/markets/{chance.choice(markets)}/orders HTTP/1.1\r\nHost: {host}\r\n"
            f"Authorization: Bearer {chance.choice(keys)}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
    return requests


async def _offer(host: str, port: int, requests: list[bytes], per_s: float) -> RateRun:
    idle: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        idle.put_nowait(await asyncio.open_connection(host, port))
    took_ms: list[float] = []
    statuses: list[int] = []

    async def send(request: bytes, due: float) -> None:
        reader, writer = await idle.get()
        writer.write(request)
        statuses.append(await read_status(reader))
        took_ms.append((time.perf_counter() - due) * 1e3)
        idle.put_nowait((reader, writer))

    begin = time.perf_counter()
    tasks = []
    for number, request in enumerate(requests):
        due = begin + number / per_s
        if (ahead := due - time.perf_counter()) > 0:
            await asyncio.sleep(ahead)
        tasks.append(asyncio.create_task(send(request, due)))
    _, late = await asyncio.wait(tasks, timeout=LATEST_SECONDS)
    for task in late:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    while not idle.empty():
        idle.get_nowait()[1].close()
    accepted = sum(200 <= status < 300 for status in statuses)
    return RateRun(
        len(requests), accepted, len(statuses) - accepted, len(requests) - len(statuses),
        percentile(took_ms, 50), percentile(took_ms, 99), took_ms,
    )  # fmt: skip


async def read_status(reader: asyncio.StreamReader) -> int:
    """Reads an answer that has a Content-Length to its end; answers its status."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    _, _, rest = head.partition(b"content-length:")
    await reader.readexactly(int(rest.split(b"\r\n", 1)[0]))
    return int(head.split(b" ", 2)[1])


def percentile(values: list[float], percent: int) -> float:
    """The smallest value that at least `percent` of 100 values do not exceed; infinite where there are none."""
    if not values:
        return float("inf")
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]
