"""A random session through a real shard."""

import random

from tests.crash.stage import Stage, place, sealed
from trading.engine import commands as cmd


def random_session(stage: Stage, market_ids: list[str], *, commands: int, seed: int) -> None:
    """Orders of all kinds in batches of a few, from accounts rich and poor, through a real shard."""
    chance = random.Random(seed)
    accounts = [stage.account(cash) for cash in (10_000_000, 10_000_000, 400_000, 30_000)]
    placed, waiting = [], []
    for _ in range(commands):
        market_id, account_id = chance.choice(market_ids), chance.choice(accounts)
        if placed and chance.random() < 0.25:
            market_id, account_id, order_id = chance.choice(placed)
            if chance.random() < 0.5:
                command = cmd.CancelOrder(market_id, account_id, order_id, None)
            else:
                command = cmd.AmendOrder(market_id, account_id, order_id, None, chance.randrange(1, 30), None)
            waiting.append(sealed(command))
        elif chance.random() < 0.03:
            waiting.append(
                sealed(cmd.CancelOrders(market_id, account_id, None, chance.choice(("buy", None))))
            )
        else:
            order = place(
                market_id, account_id, chance.choice(("buy", "sell")), chance.randrange(30, 70) * 100,
                chance.randrange(1, 40), outcome=chance.randrange(2), tif=chance.choice(("GTC", "GTC", "IOC", "FOK")),
            )  # fmt: skip
            placed.append((market_id, account_id, order.command.order_id))
            waiting.append(order)
        if chance.random() < 0.3:
            stage.do_all(*waiting)
            waiting = []
    stage.do_all(*waiting)
