"""A little history of an exchange that makes every event there is. Extend it when an event joins the others."""

import datetime as dt
import random
import time
from typing import Any

import httpx

from tests.running_exchange import RunningExchange

PRICES = [f"0.{cents:02d}00" for cents in range(30, 71)]
ROUNDS = 60
DEADLINE_S = 60


class History:
    """Three traders, an operator, and the markets that they make, trade in and end."""

    def __init__(self, exchange: RunningExchange) -> None:
        self._chance = random.Random(1)
        self._api = httpx.Client(base_url=f"{exchange.http}/api/v1", timeout=30)
        self._staff = exchange.staff_headers()
        self._colleague = colleague_headers(exchange)
        self._traders = [exchange.new_trader("5000.0000").headers for _ in range(3)]

    def happen(self) -> None:
        """Everything, in order; returns when all that was decided is also settled."""
        binary = self._market(["Yes", "No"], taker_fee="0.0700", maker_fee="0.0100")
        many = self._market(["Red", "Green", "Blue"], taker_fee="0.0200")
        unwound = self._market(["Yes", "No"])
        closing = self._market(["Yes", "No"], closes_at=in_seconds(8))
        self._trade(binary, ["Yes", "No"])
        self._trade(many, ["Red", "Green", "Blue"])
        self._use_every_kind_of_order(binary, many)
        self._suspend_and_resume(binary)
        self._be_refused(binary)
        self._move_money()
        self._take_profit(unwound)
        self._order(closing, self._traders[0], side="buy", price="0.4000", quantity=5)
        self._change_mind(many)
        self._end(many, payouts={"Red": "0.5000", "Green": "0.5000", "Blue": "0.0000"})
        won = self._end(binary, is_disputed=True, outcome="Yes")
        self._undo(binary, won)
        self._end(binary, outcome="No")
        self._undo(unwound, self._end(unwound, void=True))
        self._end(unwound, outcome="Yes")
        self._wait(lambda: self._get(f"/markets/{closing}")["status"] == "closed")

    def _trade(self, market: str, outcomes: list[str]) -> None:
        own: list[tuple[Any, str, int]] = []
        for _ in range(ROUNDS):
            trader, what = self._chance.choice(self._traders), self._chance.random()
            if own and what < 0.15:
                who, order_id, _ = own.pop(self._chance.randrange(len(own)))
                self._send("DELETE", f"/orders/{order_id}", who)
            elif own and what < 0.25:
                who, order_id, quantity = self._chance.choice(own)
                self._send("PATCH", f"/orders/{order_id}", who, {"quantity": max(1, quantity // 2)})
            else:
                quantity = self._chance.randrange(2, 40)
                order_id = self._order(
                    market, trader, outcome=self._chance.choice(outcomes), side=self._chance.choice(["buy", "sell"]),
                    price=self._chance.choice(PRICES), quantity=quantity,
                    time_in_force=self._chance.choice(["GTC", "GTC", "GTC", "IOC"]),
                )  # fmt: skip
                own.append((trader, order_id, quantity))

    def _use_every_kind_of_order(self, binary: str, many: str) -> None:
        """Each wish that an order can have, a cancel-all, an order that expires, and an implied match."""
        first, second, third = self._traders
        self._send("DELETE", f"/markets/{binary}/orders", first)
        for trader in (second, third):
            self._send("DELETE", "/orders", trader)
        resting = self._order(
            binary, first, side="sell", price="0.8000", quantity=10, time_in_force="GTD", expires_at=in_seconds(60),
            post_only=True, on_suspend="cancel", self_trade_prevention="cancel_maker",
        )  # fmt: skip
        self._send("PATCH", f"/orders/{resting}", first, {"price": "0.7900", "quantity": 12})
        self._order(binary, second, side="buy", type="market", max_cost="2.5000", valid_until=in_seconds(60))
        self._order(binary, second, side="sell", price="0.9000", quantity=1, reduce_only=True)
        self._order(binary, third, side="buy", price="0.0200", quantity=3, time_in_force="GTD",
                    expires_at=in_seconds(2))  # fmt: skip
        for trader, outcome, price in (
            (first, "Red", "0.4000"),
            (second, "Green", "0.3500"),
            (third, "Blue", "0.3000"),
        ):
            self._send("DELETE", f"/markets/{many}/orders", trader)
            self._order(many, trader, outcome=outcome, side="buy", price=price, quantity=5)
        self._wait(lambda: not self._open(binary, third))

    def _open(self, market: str, trader: Any) -> list[Any]:
        answer = self._api.get(
            "/portfolio/orders", headers=trader, params={"market_id": market, "status": "open"}
        )
        return list(answer.json()["results"])

    def _suspend_and_resume(self, market: str) -> None:
        for command in ("suspend", "resume"):
            assert self._send("POST", f"/markets/{market}/{command}", self._staff, {}).is_success

    def _be_refused(self, market: str) -> None:
        """An order that costs more than there is, and an amend of an order that has ended."""
        dear = {"outcome": "Yes", "side": "buy", "price": "0.9000", "quantity": 1_000_000}
        assert self._send("POST", f"/markets/{market}/orders", self._traders[0], dear).status_code == 422
        ended = self._order(market, self._traders[0], side="buy", price="0.0100", quantity=4)
        self._send("DELETE", f"/orders/{ended}", self._traders[0])
        assert self._send("PATCH", f"/orders/{ended}", self._traders[0], {"quantity": 2}).status_code == 422

    def _move_money(self) -> None:
        trader = self._traders[1]
        for amount, expected in (("10.0000", 201), ("900000.0000", 422)):
            body = {"amount": amount, "client_id": f"withdraw-{amount}"}
            assert self._send("POST", "/account/withdraw", trader, body).status_code == expected

    def _take_profit(self, market: str) -> None:
        """One buys low and sells high, so that voiding has to take something back."""
        winner, low, high = self._traders
        for trader, side, price in ((low, "sell", "0.2000"), (winner, "buy", "0.2000"),
                                    (high, "buy", "0.7000"), (winner, "sell", "0.7000")):  # fmt: skip
            self._order(market, trader, side=side, price=price, quantity=50)

    def _change_mind(self, market: str) -> None:
        """A proposal that is withdrawn, after which trading goes on without trades at first."""
        resolution = self._propose(market, outcome="Red")
        self._do(f"{resolution}/withdraw", self._colleague, reason="Too early.")
        resumed = self._send(
            "POST", f"/markets/{market}/resume", self._staff, {"phase": "post_only", "phase_seconds": 1}
        )
        assert resumed.is_success, resumed.text

    def _end(self, market: str, *, is_disputed: bool = False, **decision: Any) -> str:
        """Proposed by one, approved by another, after a window or a dispute; answers the resolution's path."""
        resolution = self._propose(market, **decision)
        if is_disputed:
            holders = (self._dispute(resolution, trader) for trader in self._traders)
            assert any(holders), "somebody holds shares"
        self._do(f"{resolution}/approve", self._colleague)
        self._settled(resolution.rpartition("/")[2])
        return resolution

    def _propose(self, market: str, **decision: Any) -> str:
        answer = self._send(
            "POST", f"/markets/{market}/resolutions", self._staff, {**decision, "evidence": "As seen."}
        )
        assert answer.status_code == 201, answer.text
        return f"/markets/{market}/resolutions/{answer.json()['resolution_id']}"

    def _dispute(self, resolution: str, trader: Any) -> bool:
        return self._send("POST", f"{resolution}/dispute", trader, {"reason": "Not so."}).is_success

    def _undo(self, market: str, resolution: str) -> None:
        """Asked for by two, while the money is in orders elsewhere: what is missing is owed, and repaid later."""
        elsewhere = self._market(["Yes", "No"])
        orders = []
        for trader in self._traders:
            cash = int(float(self._api.get("/account", headers=trader).json()["cash"]))
            if cash > 1:
                placed = self._order(elsewhere, trader, side="buy", price="0.9900", quantity=cash - 1)
                orders.append((trader, placed))
        self._do(f"{resolution}/reverse", self._staff, evidence="Seen wrongly.")
        answer = self._do(f"{resolution}/reverse", self._colleague, evidence="Seen wrongly.")
        self._settled(answer["settlement_id"])
        for trader, order_id in orders:
            self._send("DELETE", f"/orders/{order_id}", trader)
        for trader in self._traders:
            self._wait(
                lambda trader=trader: self._api.get("/account", headers=trader).json()["debt"] == "0.0000"
            )

    def _settled(self, settlement: str) -> None:
        self._wait(lambda: self._get(f"/settlements/{settlement}").get("status") == "done")

    def _do(self, path: str, who: Any, **body: Any) -> Any:
        answer = self._send("POST", path, who, body)
        assert answer.status_code == 202, answer.text
        return answer.json()

    def _market(self, outcomes: list[str], **terms: Any) -> str:
        body = {
            "question": f"Which of {', '.join(outcomes)} will it be?", "category": "golden", "outcomes": outcomes,
            "resolution_criteria": "What is seen.", "closes_at": in_seconds(30 * 24 * 3600), **terms,
        }  # fmt: skip
        made = self._send("POST", "/markets", self._staff, body)
        assert made.status_code == 201, made.text
        return str(made.json()["market_id"])

    def _order(self, market: str, trader: Any, *, outcome: str = "Yes", **order: Any) -> str:
        placed = self._send("POST", f"/markets/{market}/orders", trader, {"outcome": outcome, **order})
        assert placed.status_code == 201, placed.text
        return str(placed.json()["order_id"])

    def _send(self, method: str, path: str, who: Any, body: Any = None) -> httpx.Response:
        return self._api.request(method, path, headers=who, json=body)

    def _get(self, path: str) -> Any:
        return self._api.get(path, headers=self._staff).json()

    def _wait(self, done: Any) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not done():
            assert time.monotonic() < deadline, "what was decided has not happened"
            time.sleep(0.1)


def in_seconds(seconds: float) -> str:
    return (dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def colleague_headers(exchange: RunningExchange) -> dict[str, str]:
    """A second member of staff."""
    username = exchange.new_colleague("colleague", "x" * 20)
    made = exchange.manage("create_api_key", username, "--scopes", "read,trade,admin")
    return {"Authorization": f"Bearer {made.stdout.strip()}"}
