"""Placing orders: what the answer says, what is filled at which price, and what it costs."""

import httpx
import pytest

from tests.api.bot import LEFT_OUT, Bot, Market, document, fills, new_client_id, pips, same_but_as_of
from tests.api.conftest import MakeMarket
from tests.running_exchange import RunningExchange


def test_resting_limit_order_is_answered_in_full(alice: Bot, market: Market) -> None:
    client_order_id = new_client_id()
    cash, reserved = alice.money()
    order = alice.buy(market, "0.6500", 100, client_order_id=client_order_id)
    assert order["created_at"] == order["updated_at"]
    told = {
        name: order[name] for name in order.keys() - {"order_id", "created_at", "updated_at", "seq", "as_of"}
    }
    assert told == {
        "client_order_id": client_order_id, "market_id": market.market_id, "outcome": "Yes", "side": "buy",
        "type": "limit", "price": "0.6500", "quantity": 100, "filled": 0, "remaining": 100, "average_price": None,
        "fees": "0.0000", "time_in_force": "GTC", "expires_at": None, "status": "open", "reason": None, "fills": [],
    }  # fmt: skip
    assert alice.money() == (cash - 650_000, reserved + 650_000)


def test_order_without_client_id_says_null(alice: Bot, market: Market) -> None:
    assert alice.order(market)["client_order_id"] is None


def test_sequence_of_a_market_grows_with_every_order(alice: Bot, market: Market) -> None:
    first, second = alice.order(market), alice.order(market)
    assert second["seq"] > first["seq"] > 0


def test_fill_moves_shares_and_money_of_both_sides(alice: Bot, bob: Bot, market: Market) -> None:
    maker = alice.buy(market, "0.6000", 30)
    before = [bot.money() for bot in (alice, bob)]
    taker = bob.sell(market, "0.6000", 10)
    assert (taker["status"], taker["filled"], taker["remaining"]) == ("filled", 10, 0)
    assert fills(taker) == [("0.6000", 10, "0.0000")]
    assert taker["average_price"] == "0.6000"
    standing = alice.look(maker["order_id"], params={"min_as_of": taker["as_of"]})
    assert (standing["status"], standing["filled"], standing["remaining"]) == ("open", 10, 20)
    assert standing["fills"][0]["trade_id"] == taker["fills"][0]["trade_id"]
    # A seller without shares puts up the rest of the dollar; the buyer's part was reserved before.
    assert alice.money() == (before[0][0], before[0][1] - 60_000)
    assert bob.money() == (before[1][0] - 40_000, before[1][1])


def test_taker_gets_the_better_price_of_the_book(alice: Bot, bob: Bot, market: Market) -> None:
    alice.sell(market, "0.4000", 10)
    alice.sell(market, "0.4500", 10)
    cash, _ = bob.money()
    taker = bob.buy(market, "0.7000", 20)
    assert fills(taker) == [("0.4000", 10, "0.0000"), ("0.4500", 10, "0.0000")]
    assert taker["average_price"] == "0.4250"
    assert taker["price"] == "0.7000"
    assert bob.money()[0] == cash - 85_000


def test_best_price_then_longest_wait_is_matched_first(
    alice: Bot, bob: Bot, carol: Bot, market: Market
) -> None:
    late_price = alice.sell(market, "0.5500", 5)
    first, second = alice.sell(market, "0.5000", 5), bob.sell(market, "0.5000", 5)
    taker = carol.buy(market, "0.5500", 7)
    by_trade = {fill["trade_id"]: fill["quantity"] for fill in taker["fills"]}
    seen = {bot_order["order_id"]: bot.look(bot_order["order_id"], params={"min_as_of": taker["as_of"]})
            for bot, bot_order in ((alice, late_price), (alice, first), (bob, second))}  # fmt: skip
    assert [seen[each["order_id"]]["filled"] for each in (first, second, late_price)] == [5, 2, 0]
    assert sum(by_trade.values()) == 7


def test_buying_no_is_selling_yes(alice: Bot, bob: Bot, market: Market) -> None:
    maker = alice.buy(market, "0.6000", 10)
    taker = bob.order(market, outcome="No", side="buy", price="0.4500", quantity=10)
    assert (taker["status"], fills(taker)) == ("filled", [("0.4000", 10, "0.0000")])
    assert alice.look(maker["order_id"], params={"min_as_of": taker["as_of"]})["status"] == "filled"


def test_shares_held_cover_a_sale_without_cash(
    exchange: RunningExchange, alice: Bot, bob: Bot, market: Market
) -> None:
    alice.buy(market, "0.6000", 10)
    bob.order(market, outcome="No", side="buy", price="0.4000", quantity=10)
    cash, reserved = bob.money()
    resting = bob.order(market, outcome="No", side="sell", price="0.9000", quantity=10)
    assert resting["status"] == "open"
    assert bob.money() == (cash, reserved)


def test_whoever_gets_the_other_share_gets_the_dollar_at_once(
    alice: Bot, bob: Bot, carol: Bot, market: Market
) -> None:
    alice.buy(market, "0.6000", 10)
    bob.sell(market, "0.6000", 10)
    carol.sell(market, "0.7000", 10)
    cash, _ = bob.money()
    assert bob.buy(market, "0.7000", 10)["status"] == "filled"
    # Bob held 10 No; with 10 Yes for $7 they are ten dollars.
    assert bob.money()[0] == cash - 70_000 + 100_000


@pytest.mark.parametrize(
    ("price", "quantity", "fee"),
    [("0.6000", 100, "1.6800"), ("0.5500", 1, "0.0174"), ("0.9900", 1, "0.0007"), ("0.0100", 3, "0.0021")],
)
def test_taker_pays_the_fee_rounded_up_to_a_pip(
    alice: Bot, bob: Bot, make_market: MakeMarket, price: str, quantity: int, fee: str
) -> None:
    market = make_market(taker_fee="0.0700")
    alice.sell(market, price, quantity)
    before = bob.money()
    taker = bob.buy(market, price, quantity)
    assert (taker["fees"], fills(taker)) == (fee, [(price, quantity, fee)])
    assert bob.money() == (before[0] - pips(price) * quantity - pips(fee), before[1])


def test_fee_of_an_order_does_not_depend_on_how_its_fills_were_split(
    alice: Bot, bob: Bot, make_market: MakeMarket
) -> None:
    market = make_market(taker_fee="0.0700")
    for _ in range(3):
        alice.sell(market, "0.5500", 1)
    taker = bob.buy(market, "0.5500", 3)
    # 3 × 173.25 pips are 519.75, so 520 and not three times 174.
    assert taker["fees"] == "0.0520"
    assert [fill["fee"] for fill in taker["fills"]] == ["0.0174", "0.0173", "0.0173"]


def test_maker_pays_the_makers_rate(alice: Bot, bob: Bot, make_market: MakeMarket) -> None:
    market = make_market(maker_fee="0.0200")
    before = alice.money()
    maker = alice.buy(market, "0.5000", 100)
    # The highest rate is reserved with the price: 0.02 × 100 × 0.25.
    assert alice.money() == (before[0] - 505_000, before[1] + 505_000)
    taker = bob.sell(market, "0.5000", 100)
    assert taker["fees"] == "0.0000"
    assert alice.look(maker["order_id"], params={"min_as_of": taker["as_of"]})["fees"] == "0.5000"
    assert alice.money() == (before[0] - 505_000, before[1])


def test_ioc_takes_what_is_there_and_ends(alice: Bot, bob: Bot, market: Market) -> None:
    alice.sell(market, "0.5000", 4)
    before = bob.money()
    order = bob.buy(market, "0.5000", 10, time_in_force="IOC")
    assert (order["status"], order["reason"]) == ("cancelled", "unfilled")
    assert (order["filled"], order["remaining"], order["time_in_force"]) == (4, 0, "IOC")
    assert bob.money() == (before[0] - 20_000, before[1])


def test_ioc_that_finds_nothing_is_created_and_cancelled(alice: Bot, market: Market) -> None:
    before = alice.money()
    order = alice.buy(market, "0.5000", 10, time_in_force="IOC")
    assert (order["status"], order["reason"], order["filled"]) == ("cancelled", "unfilled", 0)
    assert alice.money() == before


def test_fok_fills_wholly_over_several_levels(alice: Bot, bob: Bot, market: Market) -> None:
    alice.sell(market, "0.5000", 4)
    alice.sell(market, "0.5100", 6)
    order = bob.buy(market, "0.5100", 10, time_in_force="FOK")
    assert (order["status"], order["filled"]) == ("filled", 10)


def test_fok_that_cannot_fill_is_refused_and_touches_nothing(alice: Bot, bob: Bot, market: Market) -> None:
    resting = alice.sell(market, "0.5000", 9)
    before = bob.money()
    problem = bob.order(market, status=422, time_in_force="FOK")
    assert problem["code"] == "cannot_fill"
    assert (problem["order"]["status"], problem["order"]["reason"]) == ("rejected", "cannot_fill")
    assert bob.money() == before
    assert alice.look(resting["order_id"])["filled"] == 0


def test_market_order_takes_up_to_its_worst_price(alice: Bot, bob: Bot, market: Market) -> None:
    alice.sell(market, "0.5000", 5)
    alice.sell(market, "0.6000", 5)
    order = bob.order(market, type="market", price="0.5500", quantity=10)
    assert (order["type"], order["time_in_force"]) == ("market", "IOC")
    assert (order["status"], order["reason"], fills(order)) == (
        "cancelled",
        "unfilled",
        [("0.5000", 5, "0.0000")],
    )


def test_market_order_without_a_price_takes_what_the_book_offers(
    alice: Bot, bob: Bot, market: Market
) -> None:
    alice.sell(market, "0.9900", 5)
    order = bob.order(market, type="market", price=LEFT_OUT, quantity=5)
    assert (order["status"], order["average_price"]) == ("filled", "0.9900")


def test_order_that_meets_its_own_account_is_cancelled(alice: Bot, market: Market) -> None:
    resting = alice.sell(market, "0.5000", 5)
    before = alice.money()
    order = alice.buy(market, "0.5000", 5)
    assert (order["status"], order["reason"], order["filled"]) == ("cancelled", "self_trade", 0)
    assert alice.look(resting["order_id"])["status"] == "open"
    assert alice.money() == before


def test_market_with_many_outcomes_keeps_a_book_for_each(
    alice: Bot, bob: Bot, make_market: MakeMarket
) -> None:
    market = make_market("Ann", "Ben", "Cid")
    alice.sell(market, "0.3000", 10, outcome="Ben")
    assert bob.buy(market, "0.9000", 5, outcome="Ann", time_in_force="IOC")["filled"] == 0
    order = bob.buy(market, "0.9000", 5, outcome="Ben")
    assert (order["outcome"], fills(order)) == ("Ben", [("0.3000", 5, "0.0000")])


def test_slug_serves_as_the_market(alice: Bot, market: Market) -> None:
    placed = alice.order(market.slug)
    assert placed["market_id"] == market.market_id
    found = alice.ask("GET", f"/markets/{market.slug}/orders/{placed['order_id']}", status=200)
    assert same_but_as_of(found) == same_but_as_of(placed)
    cancelled = alice.ask("DELETE", f"/markets/{market.slug}/orders/{placed['order_id']}", status=200)
    assert cancelled["status"] == "cancelled"


@pytest.mark.parametrize("written", [b'"0.6500"', b'"0.65"', b"0.65", b"0.6500", b"0.650000", b'"0.650"'])
def test_price_may_be_text_or_an_exact_number(alice: Bot, market: Market, written: bytes) -> None:
    body = b'{"outcome": "Yes", "side": "buy", "quantity": 1, "price": ' + written + b"}"
    assert alice.ask("POST", f"/markets/{market.market_id}/orders", body, status=201)["price"] == "0.6500"


def test_trades_of_both_lanes_meet_in_one_book(
    exchange: RunningExchange, alice: Bot, bob: Bot, market: Market
) -> None:
    alice.sell(market, "0.5000", 5)
    other = exchange.live_http if alice.lane.name == "web" else exchange.http
    body = {"outcome": "Yes", "side": "buy", "price": "0.5000", "quantity": 5}
    response = httpx.post(
        f"{other}/api/v1/markets/{market.market_id}/orders", json=body, headers=bob.trader.headers
    )
    assert document(response)["status"] == "filled"
