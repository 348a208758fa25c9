"""Holders of a market, made by trades: every order goes through the engine, as from a gateway.

Two accounts at a time, one buys Yes and the other No at prices that make a dollar. Each pair's orders meet each other,
since the book is empty before and after them: so who holds what follows from the seed.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from ops.bench.commit_path import ACTOR, FRAME_COMMANDS, Frame, frame_of, sealed
from trading.engine.commands import PlaceOrder
from trading.ids import market_slot, new_id
from trading.wire import Envelope

DOLLAR_PIPS = 10_000
MOST_SHARES = 50


def pair_frames(gateway_id: str, market_id: str, account_ids: Sequence[str], *, seed: int) -> Iterator[Frame]:
    """An order of every account, an even number of them, in pairs that trade with each other."""
    chance = random.Random(seed)  # noqa: S311

    def orders() -> Iterator[Envelope]:
        for one, other in zip(account_ids[::2], account_ids[1::2], strict=True):
            price, shares = 100 * chance.randint(5, 95), chance.randint(1, MOST_SHARES)
            yield buy(market_id, one, 0, price, shares)
            yield buy(market_id, other, 1, DOLLAR_PIPS - price, shares)

    return in_frames(gateway_id, market_id, orders())


def in_frames(gateway_id: str, market_id: str, envelopes: Iterable[Envelope]) -> Iterator[Frame]:
    """Orders of one market in their order."""
    waiting = iter(envelopes)
    while some := list(islice(waiting, FRAME_COMMANDS)):
        yield frame_of(gateway_id, market_slot(market_id), some)


def buy(market_id: str, account_id: str, outcome: int, price_pips: int, shares: int) -> Envelope:
    """A limit order that rests if it does not meet another one."""
    return order(market_id, account_id, "buy", outcome, price_pips, shares)


def order(market_id: str, account_id: str, side: str, outcome: int, price_pips: int, shares: int) -> Envelope:
    """The same for either side."""
    command_id = new_id()
    command = PlaceOrder(
        market_id, account_id, command_id, outcome, side, "limit", price_pips, shares, "GTC", client_order_id=None,
        by=ACTOR,
    )  # fmt: skip
    return sealed(command, command_id, account_id)
