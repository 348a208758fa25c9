"""Answers that need two statements, while something is written between them."""

import pytest

from tests.trading.projections.written_log import WrittenMarket, funded_account
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
