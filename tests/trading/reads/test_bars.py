"""GET /markets/{id}/candles, /markets/{id}/analytics and /analytics/activity."""

import datetime as dt

import pytest

from tests.trading.projections.written_log import START_US, WrittenMarket, funded_account
from tests.trading.reads.test_read_api import client, get, refused
from trading.as_of import parse
from trading.eventlog.codec import timestamp_text
from trading.ids import market_slot
from trading.selectors.pages import Cursor

pytestmark = pytest.mark.django_db(transaction=True)

MINUTE_US = 60_000_000
DAY_US = 1440 * MINUTE_US
# A day that is still to come, so that nothing else of a test is recorded in it.
MIDNIGHT_US = (START_US // DAY_US + 1) * DAY_US


@pytest.fixture
def clock(monkeypatch):
    """`clock(minutes after midnight)`: from now on it is so late to the reads."""

    def set_to(minute):
        monkeypatch.setattr("trading.api.bars.now_us", lambda: MIDNIGHT_US + minute * MINUTE_US)

    set_to(100)
    return set_to


@pytest.fixture
def pair():
    return funded_account(), funded_account()


def at(market, minute):
    """What is done next is recorded in that minute."""
    market.at_us = MIDNIGHT_US + minute * MINUTE_US + 1


def time(minute):
    return timestamp_text(MIDNIGHT_US + minute * MINUTE_US)


def trade(market, pair, price, quantity, *, taker="buy"):
    market.place(pair[0], "sell" if taker == "buy" else "buy", 0, price, quantity)
    market.place(pair[1], taker, 0, price, quantity)


def candles(market, **query):
    """(minutes after midnight, open, high, low, close, volume, quantity, trades, bid, ask) of each candle."""
    answer = get(client(), f"/markets/{market.market_id}/candles", **query)
    assert answer["next"] is None
    midnight = dt.datetime.fromtimestamp(MIDNIGHT_US / 1_000_000, dt.UTC)
    return [
        ((dt.datetime.fromisoformat(row.pop("at")) - midnight) // dt.timedelta(minutes=1), *row.values())
        for row in answer["results"]
    ]


@pytest.fixture
def quoted(project, clock, pair):
    """Quotes in minutes 2 and 64, trades in minutes 3, 4 and 66."""
    market = WrittenMarket()
    at(market, 2)
    market.place(pair[0], "buy", 0, 4000, 30)
    market.place(pair[0], "sell", 0, 6000, 10)
    for minute, price, quantity in ((3, 5000, 2), (4, 5500, 1), (4, 4500, 3)):
        at(market, minute)
        trade(market, pair, price, quantity)
    at(market, 64)
    market.place(pair[1], "buy", 0, 4200, 30)
    at(market, 66)
    trade(market, pair, 5200, 5, taker="sell")
    project()
    return market


# Candles ------------------------------------------------------------------------------------------


def test_an_interval_has_its_trades_and_the_quotes_it_ended_with(quoted):
    shown = candles(quoted, interval="1m", **{"from": time(0), "to": time(5)})
    stood = ("0.4000", "0.6000")
    assert shown == [
        (2, None, None, None, None, "0.0000", 0, 0, *stood),
        (3, "0.5000", "0.5000", "0.5000", "0.5000", "1.0000", 2, 1, *stood),
        (4, "0.5500", "0.5500", "0.4500", "0.4500", "1.9000", 4, 2, *stood),
    ]


def test_a_quote_stands_until_the_next_and_nothing_before_the_first_is_shown(quoted):
    shown = candles(quoted, interval="1m", to=time(100))
    assert [row[0] for row in shown] == list(range(2, 100))
    assert {row[8] for row in shown if row[0] < 64} == {"0.4000"}
    assert {row[8] for row in shown if row[0] >= 64} == {"0.4200"}


def test_a_quote_from_before_the_window_stands_in_it(quoted):
    assert candles(quoted, interval="1m", **{"from": time(30), "to": time(31)}) == [
        (30, None, None, None, None, "0.0000", 0, 0, "0.4000", "0.6000")
    ]


def test_longer_intervals_are_made_of_shorter_ones(quoted):
    (five, *_) = candles(quoted, interval="5m", **{"from": time(0), "to": time(10)})
    assert five == (0, "0.5000", "0.5500", "0.4500", "0.4500", "2.9000", 6, 3, "0.4000", "0.6000")
    assert candles(quoted, **{"from": time(0)}) == [
        (0, "0.5000", "0.5500", "0.4500", "0.4500", "2.9000", 6, 3, "0.4000", "0.6000"),
        (60, "0.5200", "0.5200", "0.5200", "0.5200", "2.6000", 5, 1, "0.4200", "0.6000"),
    ]
    (day,) = candles(quoted, interval="1d", **{"from": time(0)})
    assert day == (0, "0.5000", "0.5500", "0.4500", "0.5200", "5.5000", 11, 4, "0.4200", "0.6000")


def test_the_second_outcome_of_two_is_mirrored(quoted):
    (five, *_) = candles(quoted, outcome="No", interval="5m", **{"from": time(0), "to": time(5)})
    assert five == (0, "0.5000", "0.5500", "0.4500", "0.5500", "3.1000", 6, 3, "0.4000", "0.6000")
    (hour,) = candles(quoted, outcome="No", **{"from": time(60)})
    assert hour == (60, "0.4800", "0.4800", "0.4800", "0.4800", "2.4000", 5, 1, "0.4000", "0.5800")


def test_an_outcome_of_many_has_candles_of_its_own(project, clock, pair):
    market = WrittenMarket(("A", "B", "C"))
    at(market, 1)
    market.place(pair[0], "sell", 1, 3000, 4)
    market.place(pair[1], "buy", 1, 3000, 4)
    project()
    assert candles(market, outcome="B", interval="1m") == [
        (1, "0.3000", "0.3000", "0.3000", "0.3000", "1.2000", 4, 1, None, None)
    ]
    assert candles(market, outcome="A", interval="1m") == []


def test_an_empty_book_is_no_quote(project, clock, pair):
    market = WrittenMarket()
    at(market, 1)
    order = market.place(pair[0], "buy", 0, 4000, 1)
    at(market, 3)
    market.cancel(pair[0], order)
    project()
    assert [row[0] for row in candles(market, interval="1m")] == [1, 2]


def test_the_future_is_not_shown(quoted, clock):
    clock(66)
    assert [row[0] for row in candles(quoted, interval="1m", **{"from": time(65), "to": time(90)})] == [
        65,
        66,
    ]
    assert candles(quoted, interval="1m", **{"from": time(80), "to": time(90)}) == []


def test_candles_say_what_both_projections_have_reached(quoted):
    answer = get(client(), f"/markets/{quoted.market_id}/candles")
    assert parse(answer["as_of"]) == {market_slot(quoted.market_id): quoted.state.seq - 1}
    get(client(), f"/markets/{quoted.market_id}/analytics", min_as_of=answer["as_of"])
    get(client(), "/analytics/activity", min_as_of=answer["as_of"])


def test_at_most_five_thousand_intervals_are_answered(quoted):
    path, end = f"/markets/{quoted.market_id}/candles", time(0)
    begin = timestamp_text(MIDNIGHT_US - 5_000 * MINUTE_US)
    get(client(), path, interval="1m", **{"from": begin, "to": end})
    beyond = timestamp_text(MIDNIGHT_US - 5_000 * MINUTE_US - 1)
    answer = client().get(f"/api/v1{path}", {"interval": "1m", "from": beyond, "to": end})
    assert answer.status_code == 400
    assert answer.json()["errors"] == {
        "from": ["there are 5001 intervals from there to the end, and at most 5000 are answered"]
    }


def test_times_without_a_market_in_them_are_empty(quoted):
    for window in (
        {"from": "0001-01-01T00:00:00Z", "to": "0001-01-02T00:00:00Z"},
        {"to": "0001-01-01T00:00:00Z"},
        {"from": "9999-12-01T00:00:00Z", "to": "9999-12-31T23:59:59.999999Z"},
        {"to": "1970-01-01T00:00:00Z"},
        {"from": time(4), "to": time(4)},
    ):
        assert (
            candles(
                quoted, interval="1m" if "from" not in window or window["to"] == time(4) else "1h", **window
            )
            == []
        )


SENSELESS = [
    ("candles", {"interval": "2m"}),
    ("candles", {"interval": ""}),
    ("candles", {"interval": "1M"}),
    ("candles", {"interval": "1m\0"}),
    ("candles", {"outcome": "Maybe"}),
    ("candles", {"outcome": "\0"}),
    ("candles", {"from": "yesterday"}),
    ("candles", {"from": "1"}),
    ("candles", {"from": "2026-11-23T00:00:00"}),
    ("candles", {"to": "2026-13-01T00:00:00Z"}),
    ("candles", {"from": "2026-11-23T00:00:01Z", "to": "2026-11-23T00:00:00Z"}),
    ("candles", {"from": "9999-01-01T00:00:00Z"}),
    ("candles", {"from": "1970-01-01T00:00:00Z"}),
    ("candles", {"interval": "1m", "to": "9999-01-01T00:00:00Z", "from": "2026-11-23T00:00:00Z"}),
    ("candles", {"limit": "5"}),
    ("candles", {"min_as_of": "x"}),
    ("analytics", {"outcome": "Maybe"}),
    ("analytics", {"from": "2026-11-23T00:00:00Z"}),
    ("analytics", {"min_as_of": "99-1"}),
]


def test_parameters_that_make_no_sense_are_refused(quoted):
    for name, query in SENSELESS:
        answer = refused(client(), f"/markets/{quoted.market_id}/{name}", **query)
        assert answer == (400, "invalid_request"), (name, query)
    for name in ("candles", "analytics"):
        assert refused(client(), f"/markets/no-such-market/{name}") == (404, "not_found")


# Analytics ----------------------------------------------------------------------------------------


def test_analytics_average_each_hour_over_the_minutes_that_are_known(quoted, clock):
    clock(119)
    shown = get(client(), f"/markets/{quoted.market_id}/analytics")
    assert shown["now"] == {
        "best_bid": "0.4200", "best_ask": "0.6000", "spread": "0.1800", "bid_depth": 60, "ask_depth": 10,
        "imbalance": "0.7143",
    }  # fmt: skip
    first, second = shown["hours"]
    assert first == {
        "at": time(0), "average_spread": "0.2000", "bid_depth": 30, "ask_depth": 10, "imbalance": "0.5000",
        "volume": "2.9000", "quantity": 6, "trades": 3, "taker_buy_share": "1.0000",
    }  # fmt: skip
    # Four minutes with a spread of 0.20, fifty-six with one of 0.18.
    assert second["average_spread"] == "0.1813"
    assert (second["bid_depth"], second["ask_depth"]) == (58, 10)
    assert second["taker_buy_share"] == "0.0000"
    assert shown["taker_buy_share"] == "0.5455"


def test_analytics_of_the_second_outcome_of_two_are_mirrored(quoted, clock):
    clock(119)
    shown = get(client(), f"/markets/{quoted.market_id}/analytics", outcome="No")
    assert shown["now"] == {
        "best_bid": "0.4000", "best_ask": "0.5800", "spread": "0.1800", "bid_depth": 10, "ask_depth": 60,
        "imbalance": "-0.7143",
    }  # fmt: skip
    assert [row["taker_buy_share"] for row in shown["hours"]] == ["0.0000", "1.0000"]
    assert [row["volume"] for row in shown["hours"]] == ["3.1000", "2.4000"]
    assert shown["outcome"] == "No"


def test_what_stood_a_day_ago_stands_in_every_hour_since(quoted, clock):
    clock(3 * 1440)
    shown = get(client(), f"/markets/{quoted.market_id}/analytics")
    assert len(shown["hours"]) == 24
    assert {(row["average_spread"], row["bid_depth"], row["trades"]) for row in shown["hours"]} == {
        ("0.1800", 60, 0)
    }
    assert shown["taker_buy_share"] is None


def test_of_a_market_in_which_nothing_has_happened_nothing_is_known(project, clock):
    market = WrittenMarket()
    project()
    shown = get(client(), f"/markets/{market.market_id}/analytics")
    assert set(shown["now"].values()) == {None}
    assert (shown["hours"], shown["taker_buy_share"]) == ([], None)
    assert candles(market) == []


def test_an_hour_in_which_one_side_was_empty_has_depth_and_no_spread(project, clock, pair):
    market = WrittenMarket()
    at(market, 30)
    market.place(pair[0], "buy", 0, 4000, 7)
    project()
    (hour, _) = get(client(), f"/markets/{market.market_id}/analytics")["hours"]
    assert (hour["average_spread"], hour["bid_depth"], hour["ask_depth"]) == (None, 7, 0)
    assert hour["imbalance"] == "1.0000"


# Activity -----------------------------------------------------------------------------------------


def test_activity_is_by_hour_and_category(project, clock, pair):
    sport, weather = (
        WrittenMarket(category="sport", taker_fee_e4=700),
        WrittenMarket(category="weather \U0001f327"),
    )
    for market, minute in ((sport, 1), (weather, 2), (sport, 70)):
        at(market, minute)
        market.place(pair[0], "buy", 1, 4000, 10)
        market.place(pair[1], "buy", 0, 6000, 10)
    project()
    rows = get(client(), "/analytics/activity")["results"]
    assert [(row["at"], row["category"]) for row in rows] == [
        (time(0), "sport"), (time(0), "weather \U0001f327"), (time(60), "sport"),
    ]  # fmt: skip
    assert rows[0] == {
        "at": time(0), "category": "sport", "volume": "6.0000", "trades": 1, "maker_volume": "4.0000",
        "taker_volume": "6.0000", "maker_share": "0.4000", "taker_share": "0.6000", "taker_buy_share": "1.0000",
        "maker_fees": "0.0000", "taker_fees": "0.1680",
    }  # fmt: skip
    assert get(client(), "/analytics/activity", **{"from": time(60)})["results"] == rows[2:]
    assert get(client(), "/analytics/activity", **{"from": time(0), "to": time(60)})["results"] == rows[:2]


def test_pages_of_activity_follow_one_another_whatever_a_category_is_called(project, clock, pair):
    names = ["\U0001f327" * 50, 'a "quoted" one\\', "plain"]
    for name in names:
        market = WrittenMarket(category=name)
        at(market, 1)
        trade(market, pair, 5000, 1)
    project()
    seen, cursor = [], {}
    while True:
        page = get(client(), "/analytics/activity", limit=1, **cursor)
        seen += [row["category"] for row in page["results"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert sorted(seen) == sorted(names)


def test_activity_refuses_what_makes_no_sense(project, clock):
    foul = [
        Cursor("activity", tuple[int]).write((0, "a\0b")),
        Cursor("activity", tuple[int]).write((0, "a\0\n")),
        Cursor("activity", tuple[int]).write((0, "a" * 250)),
        Cursor("activity", tuple[int]).write((-1, "a")),
        Cursor("activity", tuple[int]).write((2**63, "a")),
        Cursor("trades", tuple[int]).write((0, "a")),
        "WyJhY3Rpdml0eSIsWzAsIlx1ZDgwMCJdXQ",  # A lone surrogate.
        "x",
    ]
    for query in (
        *({"cursor": cursor} for cursor in foul),
        {"limit": "501"},
        {"outcome": "Yes"},
        {"from": "1"},
        {"from": "2026-11-23T00:00:01Z", "to": "2026-11-23T00:00:00Z"},
    ):
        assert refused(client(), "/analytics/activity", **query) == (400, "invalid_request"), query
    far = Cursor("activity", tuple[int]).write((250_000_000_000_000_000, "z"))
    assert get(client(), "/analytics/activity", cursor=far)["results"] == []
