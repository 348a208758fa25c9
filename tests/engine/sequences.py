"""Random command sequences out of plain bytes.

Eight bytes are the market, which says how many commands follow, of eight bytes each. Drawing one
string costs next to nothing beside drawing every field, and shrinks as well: zeros are no command.
"""

from collections.abc import Iterator

from tests.engine.both_markets import START_US
from tests.engine.sayings import (
    amend,
    cancel,
    cancel_all,
    close,
    create,
    place,
    resolve,
    resume,
    suspend,
    sweep,
    void,
)
from trading.engine import commands as cmd

STEP_BYTES = 8
MOST_STEPS = 80
SEQUENCE_BYTES = STEP_BYTES * (1 + MOST_STEPS)
ACCOUNTS = ("ann", "bob", "cat", "dan", "eve", "ann", "bob", "cat", "dan", "eve", "low", "nil")
DEPOSITS = {
    "ann": 3_000_000, "bob": 3_000_000, "cat": 900_000, "dan": 500_000, "eve": 200_000, "low": 60_000, "nil": 7_001
}  # fmt: skip
FEES_E4 = (0, 700, 250, 1, 33, 10_000)
CLOSES_US = START_US + 1_000_000
# What comes how often, out of 256: while the market lives, and towards the sequence's end.
LIFE = (
    ("skip", 1), ("place", 184), ("cancel", 30), ("amend", 30), ("cancel_all", 2), ("suspend", 1), ("resume", 4),
    ("open", 2), ("sweep", 1), ("create", 1),
)  # fmt: skip
END = (
    ("skip", 1), ("place", 150), ("cancel", 24), ("amend", 24), ("cancel_all", 2), ("suspend", 2), ("resume", 10),
    ("open", 1), ("sweep", 24), ("create", 1), ("close", 4), ("resolve", 6), ("void", 3), ("wait", 4),
)  # fmt: skip


def _by_byte(weights: tuple[tuple[str, int], ...]) -> list[str]:
    kinds = [kind for kind, count in weights for _ in range(count)]
    assert len(kinds) == 256
    return kinds


KINDS_OF_LIFE, KINDS_OF_END = _by_byte(LIFE), _by_byte(END)

Step = tuple[int, cmd.Command]


def steps(data: bytes, *, outcomes: int, with_fees: bool) -> Iterator[Step]:
    """(time in µs, command), the market's creation first."""
    head, body = data[:STEP_BYTES], data[STEP_BYTES:]
    now_us, tick = START_US, (1, 100, 1, 25)[head[0] % 4]
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
    for number in range(MOST_STEPS - head[4] % MOST_STEPS):
        step = body[number * STEP_BYTES : (number + 1) * STEP_BYTES]
        kind = (KINDS_OF_LIFE if number < MOST_STEPS // 2 else KINDS_OF_END)[step[0]]
        now_us += 600_000 if kind == "wait" else step[7] % 3
        if kind == "create":
            yield now_us, creation
        elif kind not in ("skip", "wait"):
            command = _command(kind, step, asked, outcomes, tick)
            if isinstance(command, cmd.PlaceOrder):
                asked.append(command)
            yield now_us, command


def _command(kind: str, step: bytes, asked: list[cmd.PlaceOrder], outcomes: int, tick: int) -> cmd.Command:
    account = ACCOUNTS[step[1] % len(ACCOUNTS)]
    if kind == "place":
        return _place(step, f"o{len(asked)}", account, outcomes, tick)
    if kind in ("cancel", "amend"):
        return _change(kind, step, account, asked)
    if kind == "cancel_all":
        side = (None, "buy", "sell")[step[4] % 3]
        return cancel_all(account, outcome=step[3] % outcomes if step[2] % 2 else None, side=side)
    if kind == "resolve":
        first = 10_000 if step[1] % 2 else step[2]
        return resolve(first, *[0] * (outcomes - 2), 10_000 - first)
    plain: dict[str, cmd.Command] = {
        "open": cmd.OpenMarket("m"), "suspend": suspend(), "resume": resume(), "sweep": sweep(), "close": close(),
        "void": void(),
    }  # fmt: skip
    return plain[kind]


def _place(step: bytes, order: str, account: str, outcomes: int, tick: int) -> cmd.PlaceOrder:
    outcome, side = step[2] % outcomes, ("buy", "sell")[step[2] // 16 % 2]
    # A book's prices lie close together, in the middle or, at times, at either end.
    middle = (5000, 5000, 300, 9700)[step[3] % 4] if step[3] > 200 else 5000
    if outcomes == 2 and outcome == 1:
        middle = 10_000 - middle
    # Buys lie a little lower than sells, so that about half of the orders rest.
    price = (middle // tick + step[4] % 11 - (6 if side == "buy" else 4)) * tick
    if step[3] % 32 == 31:
        price += 7
    price = min(max(price, 1), 9_999)
    tif = ("GTC",) * 13 + ("IOC", "FOK", "market")
    kind = tif[step[5] % len(tif)]
    return place(
        order, account, side, 1 + step[6] % 13, price, outcome=outcome,
        tif="IOC" if kind == "market" else kind, kind="market" if kind == "market" else "limit",
        client=f"{account}-{order}" if step[5] > 160 else None,
    )  # fmt: skip


def _change(kind: str, step: bytes, account: str, asked: list[cmd.PlaceOrder]) -> cmd.Command:
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
    size = 1 + step[4] % 12
    if step[5] % 2:
        return amend(owner, order, client=client, to=size)
    return amend(owner, order, client=client, by=size)
