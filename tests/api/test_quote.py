"""Quotes of orders: what they say is what then happens, and nothing happens by asking."""

import random
from collections.abc import Iterator

import pytest

from tests.api.bot import MONEY, Bot, Lane, Market, fills, pips
from tests.api.conftest import MakeMarket
from tests.running_exchange import RunningExchange, Trader

QUOTE_FIELDS = {
    "cost", "average_price", "fee", "price_impact", "max_loss", "payout_if_right", "fills", "collateral_freed",
    "filled", "resting", "seq", "as_of",
}  # fmt: skip


@pytest.fixture(scope="module")
def bots(exchange: RunningExchange, traders: list[Trader]) -> Iterator[list[Bot]]:
    """The traders on the lane that quotes."""
    lane = Lane("web", exchange.http)
    bots = [Bot(lane, trader, exchange) for trader in traders]
    yield bots
    for bot in bots:
        bot.close()


def quote(bot: Bot, market: Market, *, status: int = 200, **order):
    body = {"outcome": market.outcomes[0], "side": "buy", "price": "0.5000", "quantity": 10, **order}
    answer = bot.ask("POST", f"/markets/{market.market_id}/quote", body, status=status)
    if status == 200:
        assert answer.keys() == QUOTE_FIELDS
        assert all(MONEY.fullmatch(answer[name].removeprefix("-")) for name in ("cost", "fee", "max_loss"))
    return answer


def test_a_walk_through_two_levels_is_told_as_it_would_be(bots: list[Bot], make_market: MakeMarket) -> None:
    alice, bob, _ = bots
    market = make_market(taker_fee="0.0100")
    alice.sell(market, "0.4000", 10)
    alice.sell(market, "0.5000", 10)
    told = quote(bob, market, price="0.6000", quantity=25)
    assert told["fills"] == [
        {"price": "0.4000", "quantity": 10, "fee": told["fills"][0]["fee"]},
        {"price": "0.5000", "quantity": 10, "fee": told["fills"][1]["fee"]},
    ]
    assert (told["cost"], told["average_price"], told["price_impact"]) == ("9.0000", "0.4500", "0.0500")
    assert pips(told["fee"]) == sum(pips(fill["fee"]) for fill in told["fills"]) > 0
    assert (told["filled"], told["resting"], told["payout_if_right"]) == (20, 5, "20.0000")
    # What the fills cost is lost if it is No, and then the rest may be filled too.
    assert pips(told["max_loss"]) > pips(told["cost"]) + pips(told["fee"]) + 5 * 6_000 - 1
    assert told["collateral_freed"] == "0.0000"


def test_selling_shares_held_brings_money_and_buying_against_them_frees_a_dollar_each(
    bots: list[Bot], market: Market
) -> None:
    alice, bob, _ = bots
    alice.sell(market, "0.4000", 20)
    bob.buy(market, "0.4000", 20)
    alice.buy(market, "0.3000", 5)
    told = quote(bob, market, side="sell", price="0.3000", quantity=5)
    assert (told["cost"], told["max_loss"], told["payout_if_right"]) == ("-1.5000", "3.5000", "0.0000")
    alice.sell(market, "0.4500", 5, outcome="No")
    told = quote(bob, market, outcome="No", price="0.4500", quantity=5)
    assert (told["cost"], told["collateral_freed"], told["filled"]) == ("2.2500", "5.0000", 5)


def test_what_would_be_refused_is_refused_with_its_reason(bots: list[Bot], market: Market) -> None:
    alice, bob, _ = bots
    alice.sell(market, "0.4000", 10)
    for wanted, reason in (
        ({"price": "0.5050"}, "off_tick"),
        ({"price": "0.4000", "post_only": True}, "would_cross"),
        ({"price": "0.4000", "quantity": 11, "time_in_force": "FOK"}, "cannot_fill"),
        ({"side": "sell", "reduce_only": True}, "reduce_only"),
    ):
        assert quote(bob, market, status=422, **wanted)["code"] == reason
    assert quote(bob, market, status=400, quantity=0)["errors"].keys() == {"quantity"}
    bob.ask("POST", "/markets/no-such-market/quote", {}, status=404)


def test_asking_changes_nothing_and_needs_a_key(bots: list[Bot], market: Market) -> None:
    alice, bob, _ = bots
    standing = alice.sell(market, "0.4000", 10)
    before = bob.money()
    first = quote(bob, market, client_order_id="asked-twice")
    assert quote(bob, market, client_order_id="asked-twice") == first
    assert first["seq"] == standing["seq"]
    assert bob.money() == before
    assert alice.look(standing["order_id"])["filled"] == 0
    response = bob.client.post(f"/markets/{market.market_id}/quote", json={}, headers={"Authorization": ""})
    assert response.status_code == 401


@pytest.mark.parametrize("outcomes", [("Yes", "No"), ("A", "B", "C")])
def test_what_is_told_is_what_then_happens(
    bots: list[Bot], make_market: MakeMarket, outcomes: tuple[str, ...]
) -> None:
    market = make_market(*outcomes, taker_fee="0.0200", maker_fee="0.0100")
    chance = random.Random(len(outcomes))
    filled = 0
    for _ in range(40):
        bot = chance.choice(bots)
        wanted = {
            "outcome": chance.choice(outcomes), "side": chance.choice(["buy", "sell"]),
            "price": f"0.{chance.randint(25, 60)}00", "quantity": chance.randint(1, 40),
            "time_in_force": chance.choice(["GTC", "IOC"]),
            "self_trade_prevention": chance.choice(["cancel_taker", "cancel_maker", "cancel_both"]),
        }  # fmt: skip
        cash, reserved = bot.money()
        told = quote(bot, market, **wanted)
        order = bot.order(market, **wanted)
        assert fills(order) == [(fill["price"], fill["quantity"], fill["fee"]) for fill in told["fills"]]
        assert (order["filled"], order["average_price"], order["fees"]) == (
            told["filled"], told["average_price"], told["fee"],
        )  # fmt: skip
        assert order["remaining"] == told["resting"]
        cash_now, reserved_now = bot.money()
        cost = -pips(told["cost"][1:]) if told["cost"].startswith("-") else pips(told["cost"])
        changed = cash_now + reserved_now - cash - reserved
        assert changed == pips(told["collateral_freed"]) - cost - pips(told["fee"])
        filled += order["filled"]
    assert filled > 100
