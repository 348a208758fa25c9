"""Quotes a market on both sides of the middle of its book until Ctrl-C, then cancels everything.

    python -m examples.quoting_bot MARKET --key pm_… [--url http://localhost:8000] [--fast-url http://localhost:8001]

It is the shortest honest use of pmarket_client: it settles what an earlier run left open, quotes only while its book
can be trusted, never crosses, and if it dies its orders are cancelled all the same, by the exchange's dead-man switch.
It has no opinion and no risk limits: it will buy what falls. A book without two sides has no middle, so it waits there.
Copied beside pmarket_client.py, it imports from pmarket_client.
"""

import argparse
import asyncio
import contextlib
import os
import signal

from examples.pmarket_client import SHARE_PIPS, Book, Client, Feed, NotTrusted, pips, price_text

DEAD_MAN_S = 30
LOOK_AGAIN_S = 1.0


async def main(options: argparse.Namespace) -> None:
    """Quote until SIGINT or SIGTERM."""
    feed_url = options.fast_url.replace("http", "ws", 1) + "/ws/v1"
    client = Client(options.url, options.key, orders_url=options.fast_url, journal=options.journal)
    async with client, Feed(feed_url) as feed:
        market = await client.market(options.market)
        await client.cancel_all(market["market_id"])
        for settled in await client.recover():
            print(f"left over: {settled.write.path} is {settled.outcome}")
        try:
            async with asyncio.TaskGroup() as work:
                beating = work.create_task(keep_alive(client))
                quoting = work.create_task(quote(client, feed.book(market["market_id"]), market, options))
                for number in (signal.SIGINT, signal.SIGTERM):
                    asyncio.get_running_loop().add_signal_handler(number, stop, beating, quoting)
        finally:
            print(f"cancelled {await client.cancel_all(market['market_id'])} orders")
            await client.heartbeat(0)


def stop(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()


async def keep_alive(client: Client) -> None:
    """Should these stop, the exchange cancels our orders."""
    while True:
        await client.heartbeat(DEAD_MAN_S)
        await asyncio.sleep(DEAD_MAN_S / 3)


async def quote(client: Client, book: Book, market: dict[str, str], options: argparse.Namespace) -> None:
    """Move both quotes whenever the middle has moved."""
    quoted: tuple[int, int] | None = None
    version = 0
    while True:
        wanted = quotes(book, pips(market["tick"]), pips(options.spread))
        if wanted != quoted:
            await client.cancel_all(market["market_id"])
            if wanted is not None:
                await place(client, book, wanted, options.quantity)
            quoted = wanted
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_AGAIN_S):
                version = await book.newer(version)


def quotes(book: Book, tick_pips: int, spread_pips: int) -> tuple[int, int] | None:
    """(bid, ask) in pips on the market's ticks, or None where there is no middle that can be trusted."""
    try:
        bid, ask = book.best(book.outcomes[0]) if book.outcomes else (None, None)
    except NotTrusted as reason:
        print(f"no quotes: {reason}")
        return None
    if bid is None or ask is None:
        return None
    ours_bid = (bid + ask - spread_pips) // 2 // tick_pips * tick_pips
    ours_ask = -(-(bid + ask + spread_pips) // 2 // tick_pips) * tick_pips
    return (ours_bid, ours_ask) if tick_pips <= ours_bid and ours_ask <= SHARE_PIPS - tick_pips else None


async def place(client: Client, book: Book, wanted: tuple[int, int], quantity: int) -> None:
    """Both quotes in one request. Post-only: a price that the market has passed meanwhile is refused, not traded."""
    common = {
        "market_id": book.market_id,
        "outcome": book.outcomes[0],
        "quantity": quantity,
        "post_only": True,
    }
    items = [
        {**common, "side": side, "price": price_text(price)}
        for side, price in zip(("buy", "sell"), wanted, strict=True)
    ]
    for item, result in zip(items, await client.batch(items), strict=True):
        print(f"{item['side']} at {item['price']}: {result.get('code', 'stands')}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("market", help="id or slug")
    parser.add_argument("--key", default=os.environ.get("PMARKET_KEY"), help="API key (default: PMARKET_KEY)")
    parser.add_argument("--url", default="http://localhost:8000")
    parser.add_argument("--fast-url", default="http://localhost:8001")
    parser.add_argument("--spread", default="0.0400", help="between bid and ask (default: %(default)s)")
    parser.add_argument("--quantity", type=int, default=10, help="shares a side (default: %(default)s)")
    parser.add_argument("--journal", default="quoting_bot.jsonl", help="(default: %(default)s)")
    options = parser.parse_args()
    if not options.key:
        parser.error("a key is needed: --key, or PMARKET_KEY in the environment")
    return options


if __name__ == "__main__":
    asyncio.run(main(arguments()))
