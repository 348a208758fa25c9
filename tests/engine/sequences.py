"""Random command sequences out of plain bytes.

The first bytes are the market, and say how many commands follow, of as many bytes each. Drawing one
string costs next to nothing beside drawing every field, and shrinks as well: zeros are no command.
"""

from collections.abc import Iterator

from tests.engine.both_markets import START_US
from tests.engine.sayings import (
    amend,
    approve,
    cancel,
    cancel_all,
    close,
    create,
    dispute,
    expire,
    place,
    propose,
    resolve,
    resume,
    reverse,
    settle,
    suspend,
    sweep,
    void,
    withdraw,
)
from trading.engine import commands as cmd

STEP_BYTES = 12
MOST_STEPS = 80
END_STEPS = 60  # at most so many come after a market may end
SEQUENCE_BYTES = STEP_BYTES * (1 + MOST_STEPS)
ACCOUNTS = ("ann", "bob", "cat", "dan", "eve", "ann", "bob", "cat", "dan", "eve", "low", "nil")
DEPOSITS = {
    "ann": 3_000_000, "bob": 3_000_000, "cat": 900_000, "dan": 500_000, "eve": 200_000, "low": 60_000, "nil": 7_001
}  # fmt: skip
FEES_E4 = (0, 700, 250, 1, 33, 10_000)
# With the last one six outcomes cost more than $1 at one tick each: nothing is implied.
TICKS = (1, 100, 1, 25, 100, 1, 25, 2500)
PLACERS = ("", "key", "web")
SELF_TRADES = ("cancel_taker", "cancel_maker", "cancel_both")
CLOSES_US = START_US + 1_000_000
# What comes how often, out of 256: while the market lives, and towards the sequence's end.
LIFE = (
    ("skip", 1), ("place", 176), ("cancel", 24), ("amend", 38), ("cancel_all", 4), ("suspend", 1), ("resume", 4),
    ("open", 2), ("sweep", 1), ("expire", 4), ("create", 1),
)  # fmt: skip
END = (
    ("skip", 1), ("place", 130), ("cancel", 20), ("amend", 32), ("cancel_all", 4), ("suspend", 3), ("resume", 10),
    ("open", 1), ("sweep", 16), ("expire", 5), ("create", 1), ("close", 4), ("resolve", 6), ("void", 3), ("wait", 4),
    ("propose", 4), ("approve", 4), ("dispute", 3), ("withdraw", 2), ("settle", 2), ("reverse", 1),
)  # fmt: skip


REVIEWS = ("propose", "approve", "dispute", "withdraw", "settle", "reverse")


def _by_byte(weights: tuple[tuple[str, int], ...]) -> list[str]:
    kinds = [kind for kind, count in weights for _ in range(count)]
    assert len(kinds) == 256
    return kinds


KINDS_OF_LIFE, KINDS_OF_END = _by_byte(LIFE), _by_byte(END)

Step = tuple[int, cmd.Command]


def steps(data: bytes, *, outcomes: int, with_fees: bool) -> Iterator[Step]:
    """(time in µs, command), the market's creation first."""
    head, body = data[:STEP_BYTES], data[STEP_BYTES:]
    now_us, tick = START_US, TICKS[head[0] % len(TICKS)]
    creation = create(
        outcomes=tuple(f"outcome {index}" for index in range(outcomes)),
        tick=tick,
        taker=FEES_E4[head[1] % len(FEES_E4)] if with_fees else 0,
        maker=FEES_E4[head[2] % len(FEES_E4)] if with_fees else 0,
        opens_us=now_us + 1 if head[3] > 240 else None,
        closes_us=CLOSES_US,
    )
    yield now_us, creation
    asked: list[cmd.PlaceOrder] = []
    most = len(body) // STEP_BYTES
    for number in range(most - head[4] * most // 256):
        step = body[number * STEP_BYTES : (number + 1) * STEP_BYTES]
        kind = (KINDS_OF_LIFE if number < most - min(most // 2, END_STEPS) else KINDS_OF_END)[step[0]]
        now_us += 600_000 if kind == "wait" else step[7] % 3
        if kind == "create":
            yield now_us, creation
        elif kind not in ("skip", "wait"):
            command = _command(kind, step, asked, now_us, creation)
            if isinstance(command, cmd.PlaceOrder):
                asked.append(command)
            yield now_us, command


def _command(
    kind: str, step: bytes, asked: list[cmd.PlaceOrder], now_us: int, creation: cmd.CreateMarket
) -> cmd.Command:
    account = ACCOUNTS[step[1] % len(ACCOUNTS)]
    outcomes = len(creation.outcomes)
    if kind == "place":
        return _place(step, f"o{len(asked):05}", account, now_us, creation)
    if kind in ("cancel", "amend"):
        return _change(kind, step, account, asked, creation.tick_pips)
    if kind == "cancel_all":
        return cancel_all(
            account,
            outcome=step[3] % outcomes if step[2] % 2 else None,
            side=(None, "buy", "sell")[step[4] % 3],
            by=(None, *PLACERS)[step[5] % 4] if step[5] > 127 else None,
            reason=("by_owner", "heartbeat", "disconnected")[step[6] % 3],
            # It may be sent before places that are already there, or after some that are not yet.
            fence=f"o{len(asked) + step[8] % 6:05}" if step[8] > 80 else None,
            until_us=now_us - step[9] % 20 if step[9] > 160 else None,
        )
    if kind == "resolve":
        first = 10_000 if step[1] % 2 else step[2]
        return resolve(first, *[0] * (outcomes - 2), 10_000 - first)
    if kind in REVIEWS:
        return _review(kind, step, account, outcomes)
    phase = ("", "", "post_only", "cancel_only")[step[2] % 4]
    plain: dict[str, cmd.Command] = {
        "open": cmd.OpenMarket("m"), "suspend": suspend(), "resume": resume(phase, step[3] % 8), "sweep": sweep(),
        "close": close(), "void": void(), "expire": expire(),
    }  # fmt: skip
    return plain[kind]


def _review(kind: str, step: bytes, account: str, outcomes: int) -> cmd.Command:
    by, resolution = ACCOUNTS[step[2] % 3], f"r{step[3] % 2}"
    if kind == "propose":
        first = 10_000 if step[1] % 2 else step[2]
        payouts = (first, *[0] * (outcomes - 2), 10_000 - first) if step[4] % 4 else ()
        window_us = 3 * (step[6] % 3)
        return propose(*payouts, by=by, resolution=resolution, approvals=step[5] % 3, window_us=window_us)
    reviews: dict[str, cmd.Command] = {
        "approve": approve(by, resolution), "dispute": dispute(account, resolution),
        "withdraw": withdraw(by, resolution), "settle": settle(resolution),
        "reverse": reverse(by, settlement=f"u{step[4]}", approvals=step[5] % 3),
    }  # fmt: skip
    return reviews[kind]


def _place(step: bytes, order: str, account: str, now_us: int, creation: cmd.CreateMarket) -> cmd.PlaceOrder:
    outcomes, tick = len(creation.outcomes), creation.tick_pips
    outcome, side = step[2] % outcomes, ("buy", "sell")[step[2] // 16 % 2]
    price = _price(step[3], step[4], side=side, outcome=outcome, outcomes=outcomes, tick=tick)
    tif = ("GTC",) * 10 + ("GTD",) * 4 + ("IOC", "FOK", "market", "money")
    kind = tif[step[5] % len(tif)]
    if kind == "money" and side == "sell":
        kind = "market"
    is_market = kind in ("market", "money")
    return place(
        order, account, side, 1 + step[6] % 13, price, outcome=outcome,
        tif="IOC" if is_market else kind, kind="market" if is_market else "limit",
        client=f"{account}-{order}" if step[5] > 160 else None,
        stp=SELF_TRADES[step[8] % 3], by=PLACERS[step[8] // 3 % 3],
        post_only=kind in ("GTC", "GTD") and step[9] > 224, reduce_only=step[9] % 8 == 7,
        on_suspend="cancel" if step[10] % 4 == 3 else "keep",
        expires_us=now_us + step[11] % 24 if kind == "GTD" else None,
        valid_until_us=now_us - 1 + step[11] % 24 if step[10] > 230 else None,
        max_cost=1 + step[10] * step[11] if kind == "money" else None,
    )  # fmt: skip


def _price(where: int, how_far: int, *, side: str, outcome: int, outcomes: int, tick: int) -> int:
    """A book's prices lie close together: about even odds, or, at times, elsewhere or at either end."""
    middle = (5000, 5000, 300, 9700)[where % 4] if where > 200 else 10_000 // outcomes
    if outcomes == 2 and outcome == 1:
        middle = 10_000 - middle
    # Buys lie a little lower than sells, so that about half of the orders rest.
    price = (middle // tick + how_far % 11 - (6 if side == "buy" else 4)) * tick
    if where % 32 == 31:
        price += 7
    return min(max(price, tick), 10_000 - tick)


def _change(kind: str, step: bytes, account: str, asked: list[cmd.PlaceOrder], tick: int) -> cmd.Command:
    """Cancels or amends an order asked for lately, mostly as its owner, whatever became of it."""
    target = asked[-1 - step[2] % min(len(asked), 16)] if asked and step[3] > 8 else None
    owner = target.account_id if target is not None and step[6] > 24 else account
    client = target.client_order_id if target is not None else None
    order: str | None = target.order_id if target is not None else "never"
    if client is not None and step[3] % 2:
        order = None
    else:
        client = None
    if kind == "cancel":
        return cancel(owner, order, client=client)
    size = 1 + step[4] % 16
    price = None
    if target is not None and step[8] > 140:
        price = min(max(target.price_pips + (step[8] % 7 - 3) * tick + 7 * (step[9] > 248), 1), 9_999)
    if step[5] % 4 == 3 and price is not None:
        return amend(owner, order, client=client, price=price)
    if step[5] % 2:
        return amend(owner, order, client=client, to=size, price=price)
    return amend(owner, order, client=client, by=size, price=price)
