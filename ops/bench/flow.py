"""The mixed flow of orders: what a busy exchange is sent, the same for the engine and for the plain loop.

About 60 % of the operations rest in the book, 25 % cross it, 15 % cancel an earlier order. Everything follows from
the seed.
"""

import random
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

TICK_PIPS = 100
DEPTH_TICKS = 20
CROSSING_TICKS = 3
RESTING_SHARES = 100
CROSSING_SHARES = 30

RESTING_SHARE = 0.60
CROSSING_SHARE = 0.25

# Cancels name orders as old as that at most; older ones stay in the book.
REMEMBERED_ORDERS = 20_000


class Place(NamedTuple):
    """A limit order for the first outcome; `number` counts the flow's orders."""

    number: int
    market: int
    account: int
    side: str
    price_pips: int
    quantity: int


class Cancel(NamedTuple):
    """The end of the order with that number, if it is still open."""

    number: int
    market: int
    account: int


def mixed_flow(*, markets: int, accounts: int, seed: int) -> Iterator[Place | Cancel]:
    """Operations without end. Markets and accounts are indexes from 0."""
    chance = random.Random(seed)  # noqa: S311
    middles = [chance.randrange(3_000, 7_000, TICK_PIPS) for _ in range(markets)]
    open_orders: deque[Cancel] = deque(maxlen=REMEMBERED_ORDERS)
    number = 0
    while True:
        dice = chance.random()
        if dice >= RESTING_SHARE + CROSSING_SHARE and open_orders:
            # The oldest remembered, so that most orders have had their time to trade.
            yield open_orders.popleft()
            continue
        number += 1
        market, account = chance.randrange(markets), chance.randrange(accounts)
        side = "buy" if chance.random() < 0.5 else "sell"
        toward = 1 if side == "buy" else -1
        if dice < RESTING_SHARE:
            price = middles[market] - toward * TICK_PIPS * chance.randint(1, DEPTH_TICKS)
            yield Place(number, market, account, side, price, chance.randint(1, RESTING_SHARES))
            open_orders.append(Cancel(number, market, account))
        else:
            price = middles[market] + toward * TICK_PIPS * CROSSING_TICKS
            yield Place(number, market, account, side, price, chance.randint(1, CROSSING_SHARES))
