"""The books projection: what rests where, and the tops that minutes are remembered by."""

import pytest
from django.db import connection

from tests.trading.projections.conftest import forget_everything, read_tables
from tests.trading.projections.written_log import START_US, WrittenMarket, append, funded_account
from trading.engine import commands as cmd
from trading.projections import books

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["trading"])

# The beginning of a minute that is still to come: nothing else of a test is recorded in it or after it.
NOON_US = (START_US // books.MINUTE_US + 600) * books.MINUTE_US


def rows(query, *arguments):
    with connection.cursor() as cursor:
        cursor.execute(query, arguments)
        return cursor.fetchall()


def levels(market, outcome=0):
    """(bids, asks), each (price, shares, orders), best first."""
    found = rows(
        "SELECT is_bid, price_pips, quantity, orders FROM book_level WHERE market_id = %s AND outcome = %s ORDER BY 2",
        market.market_id, outcome,
    )  # fmt: skip
    return [row[1:] for row in reversed(found) if row[0]], [row[1:] for row in found if not row[0]]


def resting(order_id):
    found = rows(
        "SELECT is_bid, price_pips, remaining FROM resting_order WHERE order_id = %s::uuid", order_id
    )
    return found[0] if found else None


def quotes(market, outcome=0):
    """(minutes after noon, bid, ask, what rests at them, depths) of every minute from noon on."""
    return rows(
        "SELECT (extract(epoch FROM at) - %s)::int / 60, bid_pips, ask_pips, bid_quantity, ask_quantity, bid_depth, "
        "ask_depth FROM quote_bar WHERE market_id = %s AND outcome = %s AND at >= to_timestamp(%s) ORDER BY at",
        NOON_US // 1_000_000, market.market_id, outcome, NOON_US // 1_000_000,
    )  # fmt: skip


def engine_levels(book):
    return tuple(
        [(price, size, len(side.levels[price * side.sign].orders)) for price, size in side.depth()]
        for side in (book.bids, book.asks)
    )


def at(market, minute, second=0):
    """What is done next is recorded at that time."""
    market.at_us = NOON_US + minute * books.MINUTE_US + second * 1_000_000


def test_orders_of_one_price_are_one_level(project):
    a, b, market = funded_account(), funded_account(), WrittenMarket()
    market.place(a, "buy", 0, 4000, 10)
    market.place(b, "buy", 0, 4000, 5)
    market.place(a, "buy", 0, 3900, 1)
    project()
    assert levels(market) == ([(4000, 15, 2), (3900, 1, 1)], [])


def test_the_second_outcome_of_a_binary_market_stands_mirrored(project):
    a, market = funded_account(), WrittenMarket()
    bid = market.place(a, "buy", 1, 3500, 7)
    ask = market.place(a, "sell", 1, 6200, 2)
    project()
    assert levels(market) == ([(3800, 2, 1)], [(6500, 7, 1)])
    assert (resting(bid), resting(ask)) == ((False, 6500, 7), (True, 3800, 2))
    market.amend(a, bid, 9, 3400)
    project()
    assert levels(market) == ([(3800, 2, 1)], [(6600, 9, 1)])


def test_an_order_that_does_not_rest_takes_from_the_book_and_leaves_nothing_in_it(project):
    maker, taker, market = funded_account(), funded_account(), WrittenMarket()
    market.place(maker, "sell", 0, 6000, 10)
    project()
    gone = market.place(taker, "buy", 0, 6000, 15, tif="IOC")
    project()
    assert levels(market) == ([], [])
    assert resting(gone) is None


def test_what_crosses_trades_and_only_its_rest_stands(project):
    maker, taker, market = funded_account(), funded_account(), WrittenMarket()
    sold = market.place(maker, "sell", 0, 6000, 10)
    market.place(maker, "sell", 0, 6100, 10)
    bought = market.place(taker, "buy", 0, 6000, 14)
    project()
    assert levels(market) == ([(6000, 4, 1)], [(6100, 10, 1)])
    assert (resting(sold), resting(bought)) == (None, (True, 6000, 4))


def test_an_amendment_that_requeues_moves_to_its_new_price_and_one_that_does_not_stays(project):
    a, market = funded_account(), WrittenMarket()
    order = market.place(a, "buy", 0, 4000, 10)
    project()
    market.amend(a, order, 6)
    project()
    assert levels(market) == ([(4000, 6, 1)], [])
    market.amend(a, order, 8, 4100)
    project()
    assert levels(market) == ([(4100, 8, 1)], [])


def test_an_amendment_counts_what_was_filled_before(project):
    maker, taker, market = funded_account(), funded_account(), WrittenMarket()
    order = market.place(maker, "sell", 0, 6000, 10)
    market.place(taker, "buy", 0, 6000, 4)
    project()
    market.amend(maker, order, 7)
    project()
    assert levels(market) == ([], [(6000, 3, 1)])


def test_an_implied_match_takes_from_the_book_of_every_outcome(project):
    a, b, taker = (funded_account() for _ in range(3))
    market = WrittenMarket(("A", "B", "C"))
    market.place(a, "buy", 0, 3000, 10)
    market.place(b, "buy", 1, 3000, 10)
    project()
    market.place(taker, "buy", 2, 4000, 4)
    project()
    assert [levels(market, outcome) for outcome in range(3)] == [
        ([(3000, 6, 1)], []), ([(3000, 6, 1)], []), ([], []),
    ]  # fmt: skip


def test_what_was_forgotten_is_read_again_from_the_own_tables(project, projector):
    maker, taker, market = funded_account(), funded_account(), WrittenMarket()
    kept = market.place(maker, "buy", 0, 4000, 10)
    gone = market.place(maker, "buy", 0, 4000, 5)
    project()
    (projection,) = [each for each in projector._projections if each.name == "books"]
    projection.forget()
    market.cancel(maker, gone)
    project()
    assert levels(market) == ([(4000, 10, 1)], [])
    projection.forget()
    market.place(taker, "sell", 0, 4000, 3)
    project()
    assert (levels(market), resting(kept)) == (([(4000, 7, 1)], []), (True, 4000, 7))


def test_more_than_is_remembered_is_read_again(project, monkeypatch):
    monkeypatch.setattr(books, "_MAX_ORDERS", 3)
    monkeypatch.setattr(books, "_MAX_LADDERS", 1)
    accounts = [funded_account() for _ in range(3)]
    markets = [WrittenMarket(), WrittenMarket()]
    for seed in range(4):
        for market in markets:
            market.trade_randomly(accounts, 10, seed)
        project()
    for market in markets:
        assert levels(market) == engine_levels(market.state.books[0])


def test_an_ended_market_leaves_no_rows_and_no_memory(project, projector):
    traders, market = [funded_account() for _ in range(3)], WrittenMarket()
    market.trade_randomly(traders, 40, seed=5)
    project()
    (projection,) = [each for each in projector._projections if each.name == "books"]
    assert projection._ladders
    assert projection._orders
    market.resolve((10_000, 0))
    project()
    assert rows("SELECT count(*) FROM resting_order") == rows("SELECT count(*) FROM book_level") == [(0,)]
    assert not projection._ladders
    assert not projection._orders


def test_books_are_the_engines_whatever_was_done_to_them(project):
    traders = [funded_account() for _ in range(5)]
    for market in (WrittenMarket(), WrittenMarket(("A", "B", "C"))):
        for seed in range(3):
            market.trade_randomly(traders, 60, seed)
            for order in list(market.state.orders.values())[::3]:
                market.amend(
                    order.account_id, order.order_id, order.quantity_shares + 1, order.price_pips + 200
                )
            project()
            for outcome, book in enumerate(market.state.books):
                assert levels(market, outcome) == engine_levels(book)
        assert rows(
            "SELECT order_id::text, remaining FROM resting_order WHERE market_id = %s ORDER BY 1", market.market_id
        ) == sorted((order.order_id, order.remaining_shares) for order in market.state.orders.values())  # fmt: skip


def test_a_maker_that_is_in_no_book_stops_the_projection(project, caplog):
    market = WrittenMarket()
    leg = {"account": funded_account(), "cash": 0, "order": market.market_id, "outcome": 0, "price": 5000,
           "quantity": 1, "reserved": 0, "role": "maker", "side": "buy"}  # fmt: skip
    append(market.market_id, ("order_matched/1", {"legs": [leg, leg], "outcome": 0, "price": 5000, "quantity": 1,
                                                  "taker_side": "sell", "trade": market.market_id}))  # fmt: skip
    project()
    assert "which does not rest" in caplog.text


# Minutes ------------------------------------------------------------------------------------------


def test_the_row_of_a_minute_is_the_top_that_its_last_event_left(project):
    maker, taker, market = funded_account(), funded_account(), WrittenMarket()
    at(market, 0, 1)
    market.place(maker, "sell", 0, 6000, 10)
    market.place(maker, "buy", 0, 5000, 3)
    at(market, 0, 59)
    market.place(taker, "buy", 0, 6000, 4)
    market.place(maker, "buy", 0, 5100, 2)
    project()
    assert quotes(market) == [(0, 5100, 6000, 2, 6, 5, 6)]


def test_a_batch_that_spans_minutes_writes_each_of_them(project):
    maker, market = funded_account(), WrittenMarket()
    at(market, 0, 59)
    first = market.place(maker, "buy", 0, 5000, 3)
    at(market, 1)
    market.place(maker, "sell", 0, 6000, 10)
    at(market, 4, 30)
    market.cancel(maker, first)
    project()
    assert quotes(market) == [
        (0, 5000, None, 3, 0, 3, 0), (1, 5000, 6000, 3, 10, 3, 10), (4, None, 6000, 0, 10, 0, 10),
    ]  # fmt: skip


def test_a_minute_in_which_only_another_book_changed_has_no_row(project):
    maker, market = funded_account(), WrittenMarket(("A", "B", "C"))
    at(market, 0)
    market.place(maker, "buy", 0, 2000, 1)
    at(market, 1)
    market.place(maker, "buy", 2, 2000, 1)
    market.place(maker, "buy", 0, 2000, 1, tif="IOC")
    project()
    assert [[row[0] for row in quotes(market, outcome)] for outcome in range(3)] == [[0], [], [1]]


def test_depth_counts_what_rests_within_five_cents_of_the_best_price(project):
    maker, market = funded_account(), WrittenMarket()
    at(market, 0)
    for price, quantity in ((5000, 1), (4500, 10), (4400, 100)):
        market.place(maker, "buy", 0, price, quantity)
    for price, quantity in ((5100, 2), (5600, 20), (5700, 200)):
        market.place(maker, "sell", 0, price, quantity)
    project()
    assert quotes(market) == [(0, 5000, 5100, 1, 2, 11, 22)]


def engine_top(book):
    tops = []
    for side in (book.bids, book.asks):
        best = side.best_price()
        near = [size for price, size in side.depth() if abs(price - best) <= 500]
        tops.append((best, 0 if best is None else side.size_at(best), sum(near)))
    (bid, *bids), (ask, *asks) = tops
    return bid, ask, bids[0], asks[0], bids[1], asks[1]


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_minutes_are_the_engines_however_the_log_is_cut(project, projector, limit):
    traders = [funded_account() for _ in range(4)]
    markets = [WrittenMarket(), WrittenMarket(("A", "B", "C"))]
    expected = {}
    for minute in range(5):
        for market in markets:
            at(market, minute)
            market.state.touched.clear()
            market.trade_randomly(traders, 12, seed=minute)
            for outcome in {book for book, *_ in market.state.touched}:
                top = (minute, *engine_top(market.state.books[outcome]))
                expected.setdefault((market.market_id, outcome), []).append(top)
    projector._limit = limit
    while projector.round():
        projector._limit = limit
    for market in markets:
        for outcome in range(len(market.state.books)):
            assert quotes(market, outcome) == expected[market.market_id, outcome]
    once = read_tables()
    with connection.cursor() as cursor:
        forget_everything(cursor)
    projector._refresh_at = 0.0
    project()
    assert read_tables() == once


def test_a_rejected_command_touches_no_book(project):
    market = WrittenMarket()
    at(market, 0)
    market.place(funded_account(), "buy", 0, 4001, 10)
    market.do(cmd.SuspendMarket(market.market_id, "news"))
    project()
    assert quotes(market) == []
