"""Answers that need two statements, while something is written between them."""

import pytest

from accounts.selectors import account_figures
from markets.holdings import portfolio_of
from tests.trading.projections.written_log import WrittenMarket, funded_account
from trading import as_of
from trading.selectors import accounts, history

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["trading"])


def test_no_event_is_passed_over_that_is_written_while_a_page_is_read(monkeypatch):
    market, trader = WrittenMarket(), funded_account()
    market.place(trader, "buy", 0, 4000, 1)
    read_head = history._head

    def slowly(stream_id):
        for _ in range(3):
            market.place(trader, "buy", 0, 4000, 1)
        return read_head(stream_id)

    monkeypatch.setattr(history, "_head", slowly)
    seen, after = [], 0
    while after is not None and len(seen) < 12:
        page = history.events_page(market.market_id, after=after, limit=4, only_public=False)
        seen += [event.version for event in page.rows]
        after = None if page.next is None else int(page.next)
    assert seen == list(range(1, len(seen) + 1))


def test_an_order_has_the_fills_that_it_counts_though_others_come_meanwhile(project, monkeypatch):
    market, maker, taker = WrittenMarket(), funded_account(), funded_account()
    market.place(maker, "buy", 0, 4000, 10)
    market.place(taker, "sell", 0, 4000, 4)
    project()
    query = accounts._query

    def slowly(*arguments):
        rows = query(*arguments)
        if "FROM fill" not in arguments[0]:
            market.place(taker, "sell", 0, 4000, 6)
            project()
        return rows

    monkeypatch.setattr(accounts, "_query", slowly)
    page = accounts.orders_page(maker, market_id=None, only_open=False, limit=10, cursor=None)
    ((order),) = page.rows
    assert (order.filled_shares, [quantity for _, _, quantity, _ in order.fills]) == (4, [4])


@pytest.fixture
def bought(monkeypatch):
    """An account whose purchase is in its cash, and not yet in the positions."""
    monkeypatch.setattr(as_of, "_given_up_until", {})
    market, buyer, seller = WrittenMarket(), funded_account(), funded_account()
    market.place(seller, "sell", 0, 6000, 10)
    market.place(buyer, "buy", 0, 6000, 10)
    return buyer


@pytest.fixture
def _catches_up(project, monkeypatch):
    """The positions do, while somebody waits for them."""

    def wait_until(is_so, *, timeout_s):
        project()
        return is_so()

    monkeypatch.setattr(as_of, "wait_until", wait_until)


@pytest.mark.usefixtures("_catches_up")
def test_equity_counts_the_shares_that_cash_has_paid_for(bought):
    figures = account_figures(bought)
    assert figures.positions_pips == 60_000
    assert figures.equity_pips == figures.cash_pips + figures.reserved_pips + 60_000


@pytest.mark.usefixtures("_catches_up")
def test_the_portfolio_page_counts_them_too(bought):
    portfolio = portfolio_of(bought)
    assert portfolio.totals.value_pips == 60_000
    assert portfolio.equity_pips == portfolio.balance["cash_pips"] + 60_000


def test_a_projection_that_stays_behind_is_waited_for_once_in_a_while(bought, monkeypatch):
    waits = []

    def wait_until(is_so, *, timeout_s):
        waits.append(timeout_s)
        return False

    monkeypatch.setattr(as_of, "wait_until", wait_until)
    assert [account_figures(bought).positions_pips for _ in range(3)] == [0, 0, 0]
    assert waits == [as_of.BRIEFLY_S]
