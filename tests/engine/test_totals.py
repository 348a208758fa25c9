"""What the engine keeps for replies, tickers and summaries: an order's fills and a market's totals."""

from tests.engine.both_markets import START_US, FastMarket
from tests.engine.sayings import amend, cancel, create, place


def market_with(*, taker: int = 0, maker: int = 0, outcomes: tuple[str, ...] = ("Yes", "No")) -> FastMarket:
    market = FastMarket()
    for account in ("ann", "bob", "cat"):
        market.deposit(account, 10_000_000)
    market.given(create(taker=taker, maker=maker, outcomes=outcomes))
    return market


def test_an_open_order_knows_its_fills_cost_fees_and_what_is_left() -> None:
    market = market_with(taker=700, maker=250)
    market.given(place("a1", "ann", "sell", 2, 5500), place("b1", "bob", "buy", 10, 6000))
    market.given(place("a2", "cat", "sell", 3, 6000))
    order = market.market.orders["b1"]
    assert [fill[1:] for fill in order.fills] == [(5500, 2, 347), (6000, 3, 180)]
    assert [market.trades[fill[0]] for fill in order.fills] == ["T1", "T2"]
    assert (order.cost_pips, order.fees_pips) == (2 * 5500 + 3 * 6000, 347 + 180)
    assert (order.quantity_shares, order.filled_shares, order.remaining_shares) == (10, 5, 5)


def test_an_order_in_no_keeps_its_own_terms_and_stands_mirrored() -> None:
    market = market_with()
    market.given(place("n1", "ann", "buy", 10, 4000, outcome=1), place("b1", "bob", "buy", 3, 6000))
    order = market.market.orders["n1"]
    assert (order.outcome, order.side, order.price_pips) == (1, "buy", 4000)
    assert (order.book_index, order.is_bid, order.book_price_pips) == (0, False, 6000)
    assert [fill[1:] for fill in order.fills] == [(4000, 3, 0)]
    assert order.cost_pips == 12_000


def test_an_order_says_when_and_at_which_version_it_changed() -> None:
    market = market_with()
    market.given(place("b1", "bob", "buy", 10, 6000))
    order = market.market.orders["b1"]
    assert (order.created_us, order.updated_us, order.seq) == (START_US, START_US, 3)
    market.now_us += 1
    market.given(place("a1", "ann", "sell", 2, 6000))
    # Its trade is the market's seventh event: created, opened, placed, placed, two positions, matched.
    assert (order.created_us, order.updated_us, order.seq) == (START_US, START_US + 1, 7)
    market.now_us += 1
    market.given(amend("bob", "b1", to=5))
    assert (order.created_us, order.updated_us, order.seq) == (START_US, START_US + 2, 8)
    market.now_us += 1
    market.given(cancel("bob", "b1"))
    assert (order.updated_us, order.seq, order.remaining_shares) == (START_US + 3, 9, 0)
    assert (order.filled_shares, order.quantity_shares) == (2, 5)


def test_an_ended_order_says_how_it_ended() -> None:
    market = market_with()
    market.given(place("b1", "bob", "buy", 2, 6000), place("b2", "bob", "buy", 2, 5000))
    first, second = market.market.orders["b1"], market.market.orders["b2"]
    assert (first.status, first.reason) == ("open", None)
    market.given(place("a1", "ann", "sell", 2, 6000), cancel("bob", "b2"))
    assert (first.status, first.reason) == ("filled", None)
    assert (second.status, second.reason) == ("cancelled", "by_owner")
    assert not market.market.orders


def test_a_binary_markets_last_prices_add_up_to_a_dollar() -> None:
    market = market_with()
    assert market.market.last_prices == [None, None]
    market.given(place("n1", "ann", "buy", 10, 4000, outcome=1), place("b1", "bob", "buy", 3, 6000))
    assert market.market.last_prices == [6000, 4000]
    assert market.market.volume_pips == 18_000


def test_a_categorical_markets_last_price_is_that_of_the_outcome_traded() -> None:
    market = market_with(outcomes=("A", "B", "C"))
    market.given(
        place("s1", "ann", "sell", 3, 2500, outcome=1),
        place("b1", "bob", "buy", 2, 2500, outcome=1),
        place("b2", "cat", "buy", 1, 2600, outcome=1),
    )
    assert market.market.last_prices == [None, 2500, None]
    assert market.market.volume_pips == 7_500


def test_fees_and_collateral_of_a_market_add_up() -> None:
    market = market_with(taker=700, maker=250)
    market.given(place("a1", "ann", "sell", 10, 6000), place("b1", "bob", "buy", 10, 6000))
    assert market.market.fees_pips == 1_680 + 600
    assert (market.market.sets, market.market.collateral_pips) == (10, 100_000)
