"""GET /portfolio…, /events, /markets/{id}/trades and /orderbook."""

import uuid
import zlib

import pytest
from django.db import connection
from rest_framework.test import APIClient

from tests.trading.projections.written_log import WrittenMarket, append_to_account, funded_account
from trading.as_of import parse
from trading.ids import market_slot
from trading.principal import Principal
from trading.selectors.pages import Cursor
from trading.selectors.prices import feed_valkey

pytestmark = pytest.mark.django_db(transaction=True)


def client(account_id=None, *, scopes=("read",), is_staff=False):
    made = APIClient()
    if account_id is not None:
        principal = Principal(account_id, 1, "key", frozenset(scopes), is_staff)
        made.force_authenticate(user=object(), token=principal)
    return made


def get(api, path, **query):
    response = api.get(f"/api/v1{path}", query)
    assert response.status_code == 200, response.content
    return response.json()


def refused(api, path, **query):
    response = api.get(f"/api/v1{path}", query)
    return response.status_code, response.json()["code"]


@pytest.fixture(autouse=True)
def _no_books():
    feed_valkey().flushdb()


@pytest.fixture
def traded(project):
    """A binary market in which a buyer bought 4 of a maker's 10, and more rests on both sides."""
    maker, taker = funded_account(), funded_account()
    market = WrittenMarket(taker_fee_e4=700)
    market.maker, market.taker = maker, taker
    market.ask = market.place(maker, "sell", 0, 6000, 10, client_order_id="m-1")
    market.buy = market.place(taker, "buy", 0, 6500, 4, client_order_id="t-1")
    market.bid = market.place(maker, "buy", 0, 5500, 120)
    market.no_bid = market.place(taker, "buy", 1, 3500, 7)
    project()
    return market


# Portfolio ----------------------------------------------------------------------------------------


def test_the_portfolio_adds_up(traded):
    shown = get(client(traded.taker), "/portfolio")
    assert shown["fees_paid"] == "0.0672"
    assert shown["positions_value"] == "2.4000"
    assert (shown["cost"], shown["realized_pnl"], shown["unrealized_pnl"]) == ("2.4000", "-0.0672", "0.0000")
    assert (shown["open_positions"], shown["open_orders"]) == (1, 1)
    assert shown["equity"] == "99999999.9328"


def test_positions_are_valued_at_the_best_bid_else_the_last_price(traded):
    import msgspec

    feed_valkey().set(
        f"ticker:{traded.market_id}",
        msgspec.msgpack.encode(
            {"seq": 9, "status": "open", "last": [6000, 4000], "bid": [5500, None], "ask": [None, 4500],
             "volume_pips": 1, "open_interest": 1}
        ),
    )  # fmt: skip
    (position,) = get(client(traded.taker), "/portfolio/positions")["results"]
    assert position == {
        "market_id": traded.market_id, "outcome": "Yes", "quantity": 4, "average_price": "0.6000", "cost": "2.4000",
        "value": "2.2000", "realized_pnl": "-0.0672", "unrealized_pnl": "-0.2000",
    }  # fmt: skip
    (position,) = get(client(traded.maker), "/portfolio/positions")["results"]
    assert (position["outcome"], position["value"]) == ("No", "1.6000")


def test_without_valkey_the_last_price_serves(traded, monkeypatch):
    import redis

    gone = redis.Redis.from_url("redis://127.0.0.1:1/0")
    monkeypatch.setattr("trading.selectors.prices.feed_valkey", lambda: gone)
    (position,) = get(client(traded.taker), "/portfolio/positions")["results"]
    assert position["value"] == "2.4000"


def test_a_price_that_nobody_knows_is_null(project):
    seller, buyer = funded_account(), funded_account()
    market = WrittenMarket(("A", "B", "C"))
    market.place(buyer, "buy", 0, 6000, 10)
    market.place(seller, "sell", 0, 6000, 10)
    project()
    shown = {row["outcome"]: row["value"] for row in get(client(seller), "/portfolio/positions")["results"]}
    assert shown == {"B": None, "C": None}
    assert get(client(seller), "/portfolio")["positions_value"] == "0.0000"


def test_own_orders_come_newest_first_with_their_fills(traded):
    rows = get(client(traded.maker), "/portfolio/orders")["results"]
    assert [row["order_id"] for row in rows] == [traded.bid, traded.ask]
    assert rows[1]["filled"] == 4
    assert rows[1]["fills"][0]["price"] == "0.6000"
    assert get(client(traded.taker), "/portfolio/orders")["results"][0]["order_id"] == traded.no_bid
    every = get(client(traded.taker), "/portfolio/orders", status="all")["results"]
    assert [row["status"] for row in every] == ["open", "filled"]
    other = WrittenMarket()
    assert refused(client(traded.maker), "/portfolio/orders", market_id=other.market_id)[0] == 404
    assert get(client(traded.maker), "/portfolio/orders", market_id=traded.market_id)["next"] is None


def test_own_fills_are_in_own_terms(traded):
    (fill,) = get(client(traded.maker), "/portfolio/fills")["results"]
    assert fill["client_order_id"] == "m-1"
    shown = {name: fill[name] for name in ("outcome", "side", "price", "quantity", "fee", "role")}
    assert shown == {
        "outcome": "Yes", "side": "sell", "price": "0.6000", "quantity": 4, "fee": "0.0000", "role": "maker",
    }  # fmt: skip


def test_pages_follow_one_another_without_gaps(project):
    maker, taker = funded_account(), funded_account()
    market = WrittenMarket()
    for price in range(10):
        market.place(maker, "sell", 0, 5000 + 100 * price, 1)
        market.place(taker, "buy", 0, 5000 + 100 * price, 1)
    project()
    for path, key, count in (
        ("/portfolio/orders", "order_id", 10),
        ("/portfolio/fills", "trade_id", 10),
        (f"/markets/{market.market_id}/trades", "trade_id", 10),
    ):
        seen, cursor = [], {}
        for _ in range(5):
            page = get(
                client(maker), path, limit=3, **cursor, **({"status": "all"} if "portfolio" in path else {})
            )
            seen += [row[key] for row in page["results"]]
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        assert len(seen) == len(set(seen)) == count
        assert seen == sorted(seen, reverse=True) or key == "trade_id"


def test_settlements_show_what_the_account_was_paid(traded, project):
    traded.resolve((10_000, 0))
    project()
    (before,) = get(client(traded.taker), "/portfolio/settlements")["results"]
    assert (before["status"], before["paid"], before["payouts"]) == (
        "pending",
        None,
        {"Yes": "1.0000", "No": "0.0000"},
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO settlement_account (settlement_id, account_id, step, amount_pips) "
            "VALUES (%s, %s, 'pay', 40000)",
            [traded.settlement_id, traded.taker],
        )
    (after,) = get(client(traded.taker), "/portfolio/settlements")["results"]
    assert (after["paid"], after["taken_back"], after["settlement_id"]) == (
        "4.0000",
        "0.0000",
        traded.settlement_id,
    )
    assert get(client(funded_account()), "/portfolio/settlements")["results"] == []


def test_a_resolved_position_is_worth_its_payout_until_it_is_paid(traded, project):
    traded.resolve((10_000, 0))
    project()
    assert get(client(traded.taker), "/portfolio")["positions_value"] == "4.0000"
    about = {"market": traded.market_id, "settlement": traded.settlement_id}
    append_to_account(traded.taker, ("position_closed/1", {**about, "quantities": [4, 0], "payout": 40_000}))
    project()
    assert get(client(traded.taker), "/portfolio/positions")["results"] == []
    (closed,) = get(client(traded.taker), "/portfolio/positions", status="all")["results"]
    assert (closed["quantity"], closed["average_price"], closed["value"]) == (0, None, "0.0000")
    assert closed["realized_pnl"] == "1.5328"


# Market data --------------------------------------------------------------------------------------


def test_trades_need_no_key_and_name_no_account(traded):
    (trade,) = get(client(), f"/markets/{traded.market_id}/trades")["results"]
    assert set(trade) == {"trade_id", "outcome", "price", "quantity", "taker_side", "at", "seq"}
    assert (trade["outcome"], trade["price"], trade["taker_side"]) == ("Yes", "0.6000", "buy")
    (mirrored,) = get(client(), f"/markets/{traded.market_id}/trades", outcome="No")["results"]
    assert (mirrored["outcome"], mirrored["price"], mirrored["taker_side"]) == ("No", "0.4000", "sell")
    assert get(client(), f"/markets/{traded.market_id}/trades", outcome="Yes")["results"] == [trade]


def test_trades_of_one_outcome_of_many(project):
    maker, taker = funded_account(), funded_account()
    market = WrittenMarket(("A", "B", "C"))
    for outcome in (0, 1):
        market.place(maker, "sell", outcome, 5000, 1)
        market.place(taker, "buy", outcome, 5000, 1)
    project()
    assert len(get(client(), f"/markets/{market.market_id}/trades")["results"]) == 2
    assert len(get(client(), f"/markets/{market.market_id}/trades", outcome="B")["results"]) == 1
    assert get(client(), f"/markets/{market.market_id}/trades", outcome="C")["results"] == []


def test_both_outcomes_of_a_binary_market_show_the_one_book(traded):
    book = get(client(), f"/markets/{traded.market_id}/orderbook")
    assert (book["bids"], book["asks"]) == ([["0.5500", 120]], [["0.6000", 6], ["0.6500", 7]])
    assert book["seq"] == traded.state.seq
    lines = "Yes|bid|0.5500|120\nYes|ask|0.6000|6\nYes|ask|0.6500|7"
    assert book["checksum"] == zlib.crc32(lines.encode())
    other = get(client(), f"/markets/{traded.market_id}/orderbook", outcome="No")
    assert (other["bids"], other["asks"]) == ([["0.4000", 6], ["0.3500", 7]], [["0.4500", 120]])


def publish_book(market, **levels):
    fields = {"seq": market.state.seq, **{name.replace("_", "|"): size for name, size in levels.items()}}
    feed_valkey().hset(f"book:{market.market_id}", mapping=fields)


def test_the_published_book_is_taken_unless_it_is_behind(traded):
    publish_book(traded, **{"0_bid_1000": 5})
    assert get(client(), f"/markets/{traded.market_id}/orderbook")["bids"] == [["0.1000", 5]]
    feed_valkey().hset(f"book:{traded.market_id}", "seq", traded.state.seq - 1)
    assert get(client(), f"/markets/{traded.market_id}/orderbook")["bids"] == [["0.5500", 120]]


def test_depth_cuts_levels_but_not_the_checksum(traded):
    whole = get(client(), f"/markets/{traded.market_id}/orderbook")
    cut = get(client(), f"/markets/{traded.market_id}/orderbook", depth=1)
    assert (cut["asks"], cut["checksum"]) == ([["0.6000", 6]], whole["checksum"])


def test_a_seq_is_given_out_only_with_levels_that_are_as_far(traded, monkeypatch):
    monkeypatch.setattr("trading.selectors.books.AGREE_WITHIN_S", 0)
    path = f"/markets/{traded.market_id}/orderbook"
    assert get(client(), path)["seq"] == traded.state.seq
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE projection_checkpoint SET next_offset = next_offset - 1 WHERE projection = 'books' AND slot = %s",
            [market_slot(traded.market_id)],
        )
    assert refused(client(), path) == (503, "read_lag")


def test_an_empty_book_has_empty_sides(project):
    market = WrittenMarket()
    project()
    book = get(client(), f"/markets/{market.market_id}/orderbook")
    assert (book["bids"], book["asks"], book["checksum"], book["seq"]) == ([], [], 0, 2)


# Events -------------------------------------------------------------------------------------------


def test_an_account_reads_its_own_events(traded):
    (event,) = get(client(traded.maker), "/events")["results"]
    assert event["type"] == "funds_deposited/1"
    assert event["stream"] == traded.maker
    assert len(event["hash"]) == 64
    assert "metadata" not in event
    assert get(client(traded.maker), "/events", stream=traded.maker)["results"] == [event]


def test_of_a_market_everybody_sees_what_names_no_account(traded):
    page = get(client(), "/events", stream=traded.market_id)
    assert [event["type"] for event in page["results"]] == ["market_created/1", "market_opened/1"]
    assert page["next"] is None
    page = get(client(), "/events", stream=traded.market_id, limit=1)
    assert [event["version"] for event in page["results"]] == [1]
    page = get(client(), "/events", stream=traded.market_id, limit=1, after=page["next"])
    assert [event["version"] for event in page["results"]] == [2]


def test_staff_see_every_stream_whole(traded):
    staff = client(funded_account(), scopes=("read", "admin"), is_staff=True)
    assert len(get(staff, "/events", stream=traded.market_id)["results"]) == traded.state.seq
    assert len(get(staff, "/events", stream=traded.maker)["results"]) == 1
    assert refused(staff, "/events", stream=str(uuid.uuid4())) == (404, "not_found")


def test_anothers_events_are_not_found(traded):
    assert refused(client(traded.taker), "/events", stream=traded.maker) == (404, "not_found")
    assert refused(client(), "/events", stream=traded.maker) == (404, "not_found")
    assert refused(client(), "/events") == (401, "not_authenticated")


# Consistency, rights and hostile input ------------------------------------------------------------


def test_as_of_names_what_was_read_and_can_be_waited_for(traded):
    shown = get(client(), f"/markets/{traded.market_id}/trades")
    slot = market_slot(traded.market_id)
    assert parse(shown["as_of"]) == {slot: traded.state.seq - 1}
    get(client(traded.maker), "/portfolio/fills", min_as_of=shown["as_of"])


def test_what_is_not_projected_yet_is_waited_for_and_then_refused(traded, monkeypatch):
    monkeypatch.setattr("trading.as_of.WAIT_S", 0.05)
    traded.place(traded.maker, "sell", 0, 9000, 1)
    token = f"{market_slot(traded.market_id)}-{traded.state.seq - 1}"
    import trading.as_of as as_of

    monkeypatch.setattr(as_of.wait_for, "__defaults__", (0.05,))
    assert refused(client(traded.maker), "/portfolio/orders", min_as_of=token) == (503, "read_lag")


def test_tokens_nobody_gave_out_are_refused(traded):
    tokens = [
        "x",
        "3-",
        "-3",
        "3-1,4-1",
        "99-1",
        "1-99999999999999999999",
        "\uff13-1",
        "3-1 ",
        "." * 50,
        "0-1." * 5000,
    ]
    for token in tokens:
        assert refused(client(traded.maker), "/portfolio", min_as_of=token) == (400, "invalid_request"), token


def test_an_event_that_was_never_written_is_no_reason_to_wait(traded):
    token = f"{market_slot(traded.market_id)}-{traded.state.seq}"
    assert refused(client(traded.maker), "/portfolio", min_as_of=token) == (400, "invalid_request")


PATHS = [
    "/account/ledger",
    "/portfolio/positions",
    "/portfolio/orders",
    "/portfolio/fills",
    "/portfolio/settlements",
]


def test_portfolios_need_a_key_that_may_read(traded):
    for path in [*PATHS, "/portfolio"]:
        assert refused(client(), path) == (401, "not_authenticated")
        assert refused(client(traded.maker, scopes=("trade",)), path) == (403, "permission_denied")


FOREIGN = Cursor("elsewhere", tuple[int]).write((1,))
HOSTILE_CURSORS = [
    "x", "", "%00", "é", "A" * 5000, FOREIGN, "W10", "bnVsbA", "eyJhIjoxfQ",
    Cursor("orders", tuple[str]).write(("1' OR 1=1",)),
    Cursor("fills", tuple[str]).write(("a", "b")),
    Cursor("trades", tuple[int]).write((2**62, "01a20a43-26ab-704b-a8d6-27ca8b3db6fd")),
    Cursor("trades", tuple[int]).write((-1, "01a20a43-26ab-704b-a8d6-27ca8b3db6fd")),
    Cursor("positions", tuple[int]).write(("01a20a43-26ab-704b-a8d6-27ca8b3db6fd", 2**63)),
    Cursor("settlements", tuple[int]).write((2**62, "01a20a43-26ab-704b-a8d6-27ca8b3db6fd")),
    Cursor("ledger", tuple[int]).write((2**62, 0, 0, 0, 0)),
    Cursor("ledger", tuple[int]).write((1, 2**15, 0, 0, 0)),
    Cursor("ledger", tuple[int]).write((1, 0, 0, 0, -(2**63))),
    Cursor("ledger", tuple[int]).write((1, 0, 0, 0)),
]  # fmt: skip


def test_cursors_nobody_gave_out_are_refused(traded):
    for path in [*PATHS, f"/markets/{traded.market_id}/trades"]:
        for cursor in HOSTILE_CURSORS:
            assert refused(client(traded.maker), path, cursor=cursor) == (400, "invalid_request"), (
                path,
                cursor,
            )


def test_the_farthest_cursors_are_only_empty_pages(traded):
    low = "00000000-0000-0000-0000-000000000000"
    for path, name, key in (
        ("/portfolio/settlements", "settlements", (250_000_000_000_000_000, low)),
        (f"/markets/{traded.market_id}/trades", "trades", (0, low)),
        ("/portfolio/positions", "positions", (low, 2**62)),
        ("/portfolio/fills", "fills", (low, low)),
        ("/portfolio/orders", "orders", (low,)),
        ("/account/ledger", "ledger", (0, 0, 0, 0, -(2**62))),
    ):
        page = get(client(traded.maker), path, cursor=Cursor(name, tuple[int]).write(key))
        assert page["results"] == []


SENSELESS = [
    ("/portfolio/orders", {"limit": "0"}),
    ("/portfolio/orders", {"limit": "501"}),
    ("/portfolio/orders", {"limit": "\uff11"}),
    ("/portfolio/orders", {"limit": "1e2"}),
    ("/portfolio/orders", {"limit": "-1"}),
    ("/portfolio/orders", {"status": "closed"}),
    ("/portfolio/orders", {"wanted": "all"}),
    ("/portfolio", {"limit": "1"}),
    ("/account/ledger", {"kind": "trade"}),
    ("/account/ledger", {"limit": "0"}),
    ("/events", {"after": "-1"}),
    ("/events", {"after": "9" * 30}),
    ("/events", {"after": "1.5"}),
    ("/markets/{}/orderbook", {"outcome": "Maybe"}),
    ("/markets/{}/orderbook", {"depth": "0"}),
    ("/markets/{}/orderbook", {"depth": "501"}),
    ("/markets/{}/orderbook", {"depth": ""}),
    ("/markets/{}/orderbook", {"deep": "1"}),
    ("/markets/{}/orderbook", {"at": "yesterday"}),
    ("/markets/{}/price", {"at": "2026-11-23T00:00:00"}),
    ("/markets/{}/price", {"depth": "1"}),
    ("/markets/{}/trades", {"outcome": ""}),
    ("/markets/{}/trades", {"depth": "1"}),
]


def test_parameters_that_make_no_sense_are_refused(traded):
    for path, query in SENSELESS:
        answer = refused(client(traded.maker), path.format(traded.market_id), **query)
        assert answer == (400, "invalid_request"), (path, query)


def test_markets_that_are_not_there_are_not_found(traded):
    for market in (str(uuid.uuid4()), "no-such-slug", "%00", "'; DROP TABLE trade; --"):
        assert refused(client(), f"/markets/{market}/trades") == (404, "not_found")
        assert refused(client(), f"/markets/{market}/orderbook") == (404, "not_found")
        assert refused(client(traded.maker), "/portfolio/fills", market_id=market) == (404, "not_found")
        assert refused(client(traded.maker), "/events", stream=market) == (404, "not_found")
