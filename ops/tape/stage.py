"""What a tape is played with: a market, a maker, a taker and the like of its own, and the market's settlement.

All of it through the public API.
"""

import datetime as dt
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ops.tape.exchange import Exchange, Problem
from ops.tape.steps import Tape
from trading.money import format_pips, parse_pips

OUTCOMES = ("Yes", "No")
LARGEST_DEPOSIT_PIPS = 10_000_000_000
SMALLEST_DEPOSIT_PIPS = 10_000
OPEN_FOR = dt.timedelta(days=7)
SETTLE_WITHIN_S = 120.0


@dataclass(frozen=True, slots=True)
class Stage:
    """The market and the keys of its accounts, each with the cash it was given."""

    exchange: Exchange
    market_id: str
    slug: str
    keys: dict[str, str]
    deposited_pips: dict[str, int]


def set_stage(
    exchange: Exchange, tape: Tape, *, staff_key: str, cash: dict[str, int], new_key: Callable[[str], None]
) -> Stage:
    """A new market with the tape's tick, and a new account for each that needs cash, with at least that much (pips).

    `new_key` is told of each account's key before it is used.
    """
    mark = secrets.token_hex(4)
    market = new_market(
        exchange,
        f"Tape {tape.name}, played again ({mark})",
        OUTCOMES,
        tick_pips=tape.tick_pips,
        key=staff_key,
    )
    keys, deposited = {}, {}
    for account in cash:
        registered = exchange.post(
            "/register", {"username": f"tape-{account}-{mark}", "password": secrets.token_urlsafe(24)}
        )
        keys[account] = registered["api_key"]
        new_key(keys[account])
        deposited[account] = fund(exchange, keys[account], cash[account])
    return Stage(exchange, market["market_id"], market["slug"], keys, deposited)


def new_market(
    exchange: Exchange, question: str, outcomes: Sequence[str], *, tick_pips: int, key: str
) -> dict[str, Any]:
    """A market without fees for a tape, made with a staff member's key."""
    market: dict[str, Any] = exchange.post(
        "/markets",
        {
            "question": question,
            "resolution_criteria": "The result that the recording says.",
            "category": "Tapes",
            "outcomes": list(outcomes),
            "tick": format_pips(tick_pips),
            "closes_at": (dt.datetime.now(dt.UTC) + OPEN_FOR).isoformat(),
        },
        key=key,
    )
    return market


def fund(exchange: Exchange, key: str, needed_pips: int) -> int:
    """Deposit as often as it takes, in pieces as large as the exchange allows. Answers the sum."""
    deposited, piece, number = 0, LARGEST_DEPOSIT_PIPS, 0
    while deposited < needed_pips:
        try:
            exchange.post(
                "/account/deposit", {"amount": format_pips(piece), "client_id": f"fund-{number}"}, key=key
            )
        except Problem as problem:
            if problem.code != "exceeds_limits" or piece <= SMALLEST_DEPOSIT_PIPS:
                raise
            piece //= 10
            continue
        deposited += piece
        number += 1
    return deposited


def settle_stage(stage: Stage, *, winner: int, staff_key: str) -> list[str]:
    """Resolve the market as the recording says, wait for the pay-out; answers what is not as it must be."""
    exchange = stage.exchange
    settlement_id = resolve(exchange, stage.market_id, OUTCOMES[winner], key=staff_key)
    return settlement_differences(
        exchange, stage.market_id, settlement_id, key=staff_key
    ) + _money_differences(stage)


def resolve(exchange: Exchange, market_id: str, outcome: str, *, key: str) -> str:
    """Resolve a market as the recording says; answers the settlement's id."""
    accepted = exchange.post(
        f"/markets/{market_id}/resolve", {"outcome": outcome, "evidence": "The recorded result."}, key=key
    )
    settlement_id: str = accepted["settlement_id"]
    return settlement_id


def settlement_differences(exchange: Exchange, market_id: str, settlement_id: str, *, key: str) -> list[str]:
    """Wait for the pay-out; answers what is not as it must be: all collateral paid, the market resolved."""
    settlement = _settled(exchange, settlement_id, key)
    wrong = []
    if settlement["status"] != "done":
        wrong.append(f"the settlement is {settlement['status']} after {SETTLE_WITHIN_S:.0f} s")
    if settlement["paid"] != settlement["collateral"]:
        wrong.append(f"paid {settlement['paid']} of {settlement['collateral']}")
    market = exchange.get(f"/markets/{market_id}")
    if market["status"] != "resolved":
        wrong.append(f"the market is {market['status']}")
    return wrong


def _settled(exchange: Exchange, settlement_id: str, staff_key: str) -> dict[str, Any]:
    """The settlement when it has ended, or as it is when patience has. At first it can be unknown."""
    deadline = time.monotonic() + SETTLE_WITHIN_S
    while True:
        try:
            settlement: dict[str, Any] = exchange.get(f"/settlements/{settlement_id}", key=staff_key)
        except Problem as problem:
            if problem.status != 404 or time.monotonic() > deadline:
                raise
        else:
            if settlement["status"] in ("done", "failed") or time.monotonic() > deadline:
                return settlement
        time.sleep(0.2)


def _money_differences(stage: Stage) -> list[str]:
    """They have played against each other only: together they own what they deposited, less fees."""
    cash = fees = 0
    for key in stage.keys.values():
        account = stage.exchange.get("/account", key=key)
        if account["reserved"] != "0.0000":
            return [f"{account['reserved']} is still reserved"]
        cash += parse_pips(account["cash"])
        fees += parse_pips(account["fees_paid"])
    deposited = sum(stage.deposited_pips.values())
    if cash + fees != deposited:
        return [
            f"deposited {format_pips(deposited)}, left {format_pips(cash)} and {format_pips(fees)} of fees"
        ]
    return []
