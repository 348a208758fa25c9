"""Writes real logs for the read side's tests: hand-made events, or what the engine makes of commands."""

import random
import time
from typing import Any

from django.db import connection

from trading.cash import open_account
from trading.engine import commands as cmd
from trading.engine.codec import EVENT_NAMES, event_data
from trading.engine.decide import run
from trading.engine.lifecycle import needs_sweep
from trading.engine.market import Market
from trading.eventlog.append import (
    EMPTY,
    Head,
    NewEvent,
    append_to_accounts,
    copy_rows,
    encode_row,
    write_stream_heads,
)
from trading.eventlog.codec import canonical_json, timestamp_text
from trading.ids import account_slot, market_slot, new_id

START_US = time.time_ns() // 1000
CLOSES_US = 4_000_000_000_000_000


def now_us() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
        return int(cursor.fetchone()[0])


def append(stream_id: str, *events: tuple[str, dict[str, Any]], metadata: dict[str, Any] | None = None,
           slot: int | None = None, at_us: int | None = None) -> list[tuple[int, int]]:  # fmt: skip
    """Puts events into a market's stream as a shard would, as one command; answers their (slot, offset)."""
    slot = market_slot(stream_id) if slot is None else slot
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT next_offset, (extract(epoch FROM recorded_at) * 1000000)::bigint FROM slot WHERE slot = %s",
            [slot],
        )
        offset, last_us = cursor.fetchone()
        recorded_at = timestamp_text(max(last_us, at_us or now_us()))
        cursor.execute("SELECT version, hash FROM stream WHERE id = %s", [stream_id])
        row = cursor.fetchone()
        head = EMPTY if row is None else Head(row[0], bytes(row[1]))
        rows, places = [], []
        for index, (kind, data) in enumerate(events):
            about = (metadata or {"at_us": 1}) if index == 0 else {}
            line, head = encode_row(
                slot=slot, slot_offset=offset, stream_id=stream_id, head=head, type=kind, data=canonical_json(data),
                metadata=canonical_json(about), recorded_at=recorded_at,
            )  # fmt: skip
            rows.append(line)
            places.append((slot, offset))
            offset += 1
        copy_rows(cursor, rows)
        write_stream_heads(cursor, slot=slot, heads={stream_id: head})
        cursor.execute(
            "UPDATE slot SET next_offset = %s, recorded_at = %s WHERE slot = %s",
            [offset, recorded_at, slot],
        )
    return places


def append_to_account(account_id: str, *events: tuple[str, dict[str, Any]]) -> None:
    with connection.cursor() as cursor:
        append_to_accounts(
            cursor, slot=account_slot(account_id), at_us=now_us(),
            events=[(account_id, NewEvent(kind, data, {"at_us": 1})) for kind, data in events],
        )  # fmt: skip


class WrittenMarket:
    """A market driven by the real engine. What it decides is in the log, and the cash it moves in cash_account."""

    def __init__(
        self, outcomes: tuple[str, ...] = ("Yes", "No"), *, taker_fee_e4: int = 0, tick_pips: int = 100,
        category: str = "tests",
    ):  # fmt: skip
        self.at_us: int | None = None  # when what follows is recorded, instead of now
        self.market_id, self.settlement_id = new_id(), new_id()
        self.state = Market(self.market_id)
        self.outcomes = outcomes
        self.do(
            cmd.CreateMarket(
                self.market_id, "Will it?", outcomes, category, tick_pips, taker_fee_e4, 0, None, CLOSES_US
            ),
        )  # fmt: skip

    def do(self, command: cmd.Command) -> list[tuple[str, dict[str, Any]]]:
        written = [
            (EVENT_NAMES[type(event)], event_data(event))
            for event in run(self.state, command, budget_pips=10**12, now_us=START_US)
        ]
        if written:
            append(self.market_id, *written, metadata={"command": [type(command).__name__]}, at_us=self.at_us)
            move_cash(written)
        return written

    def place(self, account_id: str, side: str, outcome: int, price_pips: int, quantity: int, *, tif: str = "GTC",
              client_order_id: str | None = None, order_type: str = "limit") -> str:  # fmt: skip
        order_id = new_id()
        self.do(
            cmd.PlaceOrder(
                self.market_id, account_id, order_id, outcome, side, order_type, price_pips, quantity, tif,
                "cancel_taker", client_order_id,
            )
        )  # fmt: skip
        return order_id

    def cancel(self, account_id: str, order_id: str) -> None:
        self.do(cmd.CancelOrder(self.market_id, account_id, order_id, None))

    def amend(self, account_id: str, order_id: str, quantity: int, price_pips: int | None = None) -> None:
        self.do(cmd.AmendOrder(self.market_id, account_id, order_id, None, quantity, None, price_pips))

    def resolve(self, payouts: tuple[int, ...]) -> None:
        self.do(cmd.ResolveMarket(self.market_id, payouts, self.settlement_id, "seen"))
        self._sweep()

    def void(self) -> None:
        self.do(cmd.VoidMarket(self.market_id, self.settlement_id, "seen"))
        self._sweep()

    def _sweep(self) -> None:
        while needs_sweep(self.state):
            self.do(cmd.SweepOrders(self.market_id))

    def trade_randomly(self, accounts: list[str], commands: int, seed: int) -> None:
        """Places, cancels and amends of all kinds; prices meet often."""
        chance = random.Random(seed)
        for _ in range(commands):
            account_id = chance.choice(accounts)
            own = [order for order in self.state.orders.values() if order.account_id == account_id]
            if own and chance.random() < 0.2:
                order = chance.choice(own)
                if chance.random() < 0.5 and order.quantity_shares > 1:
                    self.amend(account_id, order.order_id, chance.randrange(1, order.quantity_shares))
                else:
                    self.cancel(account_id, order.order_id)
            else:
                self.place(
                    account_id, chance.choice(("buy", "sell")), chance.randrange(len(self.outcomes)),
                    100 * chance.randrange(30, 71), chance.randrange(1, 40), tif=chance.choice(("GTC", "GTC", "IOC")),
                    client_order_id=chance.choice((None, new_id())),
                )  # fmt: skip


def funded_account(amount_pips: int = 10**12) -> str:
    """An account with cash, and the event that says so."""
    account_id = new_id()
    open_account(account_id)
    append_to_account(
        account_id, ("funds_deposited/1", {"amount": amount_pips, "client_id": None, "repaid": 0})
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE cash_account SET cash_pips = %s WHERE account_id = %s", [amount_pips, account_id]
        )
    return account_id


def move_cash(events: list[tuple[str, dict[str, Any]]]) -> None:
    """What a shard's commit does to cash_account for these events."""
    with connection.cursor() as cursor:
        for _kind, data in events:
            for part in data.get("legs", [data]):
                if "cash" in part:
                    cursor.execute(
                        "UPDATE cash_account SET cash_pips = cash_pips + %s, fees_paid_pips = fees_paid_pips + %s "
                        "WHERE account_id = %s",
                        [part["cash"], part.get("fee", 0), part["account"]],
                    )
                    RESERVES.setdefault(part["account"], {})[part["order"]] = part.get("reserved", 0)
                    cursor.execute(
                        "UPDATE cash_account SET reserved_pips = %s WHERE account_id = %s",
                        [sum(RESERVES[part["account"]].values()), part["account"]],
                    )


RESERVES: dict[str, dict[str, int]] = {}
