"""Runs every example of docs/ENGINE.md: each line does what it says, and nothing that it does not say."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.both_markets import START_US, FastMarket, assert_book, cents
from trading.engine import commands as cmd
from trading.engine import events as ev

DOCUMENT = Path(__file__).parents[2] / "docs" / "ENGINE.md"
PURSE_PIPS = 10_000_000
ACCOUNTS = ("ann", "bob", "cat", "dan")
QUIET = (ev.OrderPlaced, ev.PositionOpened, ev.MarketCreated, ev.MarketOpened, ev.MarketSuspended, ev.MarketClosed,
         ev.CancelAllFence)  # fmt: skip

ORDER = re.compile(r"(#\d+) (\w+) (buys|sells) (\d+) (\w+) at (\d+)((?:, [\w -]+)*)")
MONEY = re.compile(r"(#\d+) (\w+) buys for \$(\S+)")


def examples() -> Iterator[Any]:
    heading = ""
    for part in re.split(
        r"^(## [^\n]*|```engine\n.*?```)$", DOCUMENT.read_text(encoding="utf-8"), flags=re.M | re.S
    ):
        if part.startswith("## "):
            heading = part[3:]
        elif part.startswith("```engine\n"):
            yield pytest.param(part[10:-3], id=heading)


class Example:
    """One market that a block of lines speaks to."""

    def __init__(self) -> None:
        self.market = FastMarket()
        for account in ACCOUNTS:
            self.market.deposit(account, PURSE_PIPS)
        self.names: tuple[str, ...] = ()
        self.owners: dict[str, str] = {}

    def play(self, text: str) -> None:
        lines = text.splitlines()
        while lines:
            line = lines.pop(0)
            if line.startswith("book "):
                self._see_book(line[5:-1], _until(lines, "    "))
            elif " has " in line:
                self._see_money(line)
            else:
                said = [] if line.startswith("market:") else _until(lines, "-> ")
                assert self.do(line) == [each[3:] for each in said], line

    def do(self, line: str) -> list[str]:
        """What comes of a line."""
        if seconds := re.fullmatch(r"(\d+) s pass", line):
            self.market.now_us += int(seconds[1]) * 1_000_000
            return []
        events = self.market.run(self._command(line))
        return [self._say(event) for event in events if not isinstance(event, QUIET)]

    def _command(self, line: str) -> cmd.Command:
        if found := ORDER.fullmatch(line):
            return self._order(*found.groups())
        if found := MONEY.fullmatch(line):
            self.owners[found[1]] = found[2]
            money = round(float(found[3]) * 10_000)
            return cmd.PlaceOrder(
                "m", found[2], found[1], 0, "buy", "market", 9_999, 1_000_000, "IOC", max_cost_pips=money
            )
        if found := re.fullmatch(r"(#\d+) is cancelled", line):
            return cmd.CancelOrder("m", self.owners[found[1]], found[1], None)
        if found := re.fullmatch(r"(#\d+) is amended to (\d+) (shares|cents)", line):
            shares, price = (int(found[2]), None) if found[3] == "shares" else (None, int(found[2]) * 100)
            return cmd.AmendOrder("m", self.owners[found[1]], found[1], None, shares, None, price)
        if found := re.fullmatch(r"(\w+) cancels all, sent after (#\d+)", line):
            return cmd.CancelOrders("m", found[1], None, None, fence=found[2])
        if found := re.fullmatch(r"the market is resolved (\d+) : (\d+)", line):
            return cmd.ResolveMarket("m", (int(found[1]) * 100, int(found[2]) * 100), "s", "seen")
        if line == "the market is suspended":
            return cmd.SuspendMarket("m", "a pause")
        found = re.fullmatch(r"market: (.*)", line)
        assert found, f"the example says {line!r}, which nobody understands"
        return self._create(found[1].split(", "))

    def _create(self, words: list[str]) -> cmd.CreateMarket:
        self.names = tuple(word for word in words if " " not in word)
        tick = 100 if "tick 1 cent" in words else 1
        fee = 700 if "taker fee 7 %" in words else 0
        return cmd.CreateMarket("m", "?", self.names, "docs", tick, fee, 0, None, START_US + 3_600_000_000)

    def _order(
        self, name: str, account: str, verb: str, quantity: str, outcome: str, price: str, wishes: str
    ) -> cmd.PlaceOrder:
        self.owners[name] = account
        asked: dict[str, Any] = {}
        tif = "GTC"
        for wish in wishes.split(", ")[1:]:
            if wish in ("FOK", "IOC"):
                tif = wish
            elif found := re.fullmatch(r"for (\d+) s", wish):
                tif, asked["expires_us"] = "GTD", self.market.now_us + int(found[1]) * 1_000_000
            elif found := re.fullmatch(r"if within (\d+) s", wish):
                asked["valid_until_us"] = START_US + int(found[1]) * 1_000_000
            else:
                asked |= {
                    "post-only": {"post_only": True},
                    "reduce-only": {"reduce_only": True},
                    "cancel_maker": {"self_trade_prevention": "cancel_maker"},
                    "cancel_both": {"self_trade_prevention": "cancel_both"},
                    "cancelled on suspend": {"on_suspend": "cancel"},
                }[wish]
        return cmd.PlaceOrder(
            "m", account, name, self.names.index(outcome), verb.removesuffix("s"), "limit", int(price) * 100,
            int(quantity), tif, **asked,
        )  # fmt: skip

    def _say(self, event: ev.Event) -> str:
        if isinstance(event, ev.OrderMatched):
            return self._say_match(event)
        if isinstance(event, ev.OrderRejected):
            return f"{event.order} rejected: {event.reason}"
        if isinstance(event, ev.OrderCancelled):
            return f"{event.order} cancelled, {event.quantity} left: {event.reason}"
        if isinstance(event, ev.OrderExpired):
            return f"{event.order} expired, {event.quantity} left"
        if isinstance(event, ev.MarketResolved):
            return f"resolved {' : '.join(map(cents, event.payouts))}, {event.sets} sets"
        assert isinstance(event, ev.OrderAmended), event
        return f"{event.order} amended"

    def _say_match(self, event: ev.OrderMatched) -> str:
        *makers, taker = [leg.order for leg in event.legs]
        if len(event.legs) == 2:
            return f"{event.quantity} {self.names[event.outcome]} at {cents(event.price)}: {makers[0]} and {taker}"
        legs = sorted(event.legs, key=lambda leg: leg.outcome)
        prices = ", ".join(f"{self.names[leg.outcome]} at {cents(leg.price)}" for leg in legs)
        return f"{event.quantity} each of {prices}: {', '.join(makers)} and {taker}"

    def _see_book(self, outcome: str, drawing: list[str]) -> None:
        assert_book(self.market, "\n".join(drawing), outcome=self.names.index(outcome))

    def _see_money(self, line: str) -> None:
        account, _, told = line.partition(" has ")
        shares = self.market.free_shares(account)
        held = [f"{count} {name}" for name, count in zip(self.names, shares, strict=True) if count]
        *said, money = told.split(", ")
        assert said == held, line
        assert round(float(money[1:]) * 10_000) == self.market.cash_pips(account), line


def _until(lines: list[str], prefix: str) -> list[str]:
    """Takes the lines that begin so."""
    taken = []
    while lines and lines[0].startswith(prefix):
        taken.append(lines.pop(0))
    return taken


@pytest.mark.parametrize("text", list(examples()))
def test_an_example_of_the_engines_document_is_true(text: str) -> None:
    Example().play(text)


def test_the_document_has_examples() -> None:
    assert len(list(examples())) > 20
