"""Quotes a market's first outcome on both sides of the middle of its book until Ctrl-C, then cancels everything.

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
from typing import Any

from examples.pmarket_client import SHARE_PIPS, Book, Client, Feed, NotTrusted, pips, price_text

Order = dict[str, Any]

DEAD_MAN_S = 30
LOOK_AGAIN_S = 1.0


async def main(options: argparse.Namespace) -> None:
    """Quote until SIGINT or SIGTERM."""
    feed_url = options.fast_url.replace("http", "ws", 1) + "/ws/v1"
    client = Client(options.url, options.key, orders_url=options.fast_url, journal=options.journal)
    async with client, Feed(feed_url) as feed:
        market = await client.get(f"/markets/{options.market}")
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


async def quote(client: Client, book: Book, market: dict[str, Any], options: argparse.Namespace) -> None:
    """Move both quotes whenever the middle has moved."""
    ours: list[Order] = []
    asked: dict[str, int] = {}
    version = 0
    while True:
        wanted = quotes(book, ours, pips(market["tick"]), pips(options.spread))
        if wanted != asked:
            if not wanted:
                print(f"no quotes: {book.why or 'the book has no middle'}", flush=True)
            ours, asked = await replace(client, book, ours, wanted, options.quantity), wanted
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_AGAIN_S):
                version = await book.newer(version)
                # Where our own last change is not in the book yet, we would take our old quotes for somebody else's.
                while book.trusted and (book.seq or 0) < max((order["seq"] for order in ours), default=0):
                    version = await book.newer(version)


def quotes(book: Book, ours: list[Order], tick_pips: int, spread_pips: int) -> dict[str, int]:
    """A price in pips for each side, on the market's ticks; none where there is no middle that can be trusted."""
    try:
        outcome = book.outcomes[0] if book.outcomes else ""
        bid = best_of_others(book.bids(outcome), "buy", ours)
        ask = best_of_others(book.asks(outcome), "sell", ours)
    except NotTrusted:
        return {}
    if bid is None or ask is None:
        return {}
    buy = (bid + ask - spread_pips) // 2 // tick_pips * tick_pips
    sell = -(-(bid + ask + spread_pips) // 2 // tick_pips) * tick_pips
    return {"buy": buy, "sell": sell} if tick_pips <= buy and sell <= SHARE_PIPS - tick_pips else {}


def best_of_others(levels: list[tuple[int, int]], side: str, ours: list[Order]) -> int | None:
    """The best price at which somebody else stands: whoever follows his own quotes runs away with them."""
    own = {pips(order["price"]): order["remaining"] for order in ours if order["side"] == side}
    return next((price for price, quantity in levels if quantity > own.get(price, 0)), None)


async def replace(
    client: Client, book: Book, ours: list[Order], wanted: dict[str, int], quantity: int
) -> list[Order]:
    """Our old quotes out and the new ones in, in one request; returns those that are open then.

    Post-only: a price that the market has passed meanwhile is refused, and not traded.
    """
    items: list[dict[str, Any]] = [
        {"op": "cancel", "market_id": book.market_id, "order_id": order["order_id"]} for order in ours
    ]
    for side, price in wanted.items():
        terms = {
            "market_id": book.market_id,
            "outcome": book.outcomes[0],
            "quantity": quantity,
            "post_only": True,
        }
        items.append({**terms, "side": side, "price": price_text(price)})
    results = await client.batch(items) if items else []
    for item, result in zip(items, results, strict=True):
        if "side" in item:
            print(f"{item['side']} at {item['price']}: {result.get('code', 'stands')}", flush=True)
    return [result["order"] for result in results if result.get("order", {}).get("status") == "open"]


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
