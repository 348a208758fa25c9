"""Price alerts fire once, with the first trade at or beyond the price; setting them takes no nonsense."""

import datetime as dt

import pytest
from django.utils import timezone

from tests.accounts.callers import code_of
from tests.accounts.notifications.told import notes_of
from tests.trading.projections.written_log import WrittenMarket


@pytest.fixture
def trade(someone):
    buyer, seller = someone("buyer"), someone("seller")

    def make(market: WrittenMarket, price_pips: int, outcome: int = 0) -> None:
        market.place(buyer, "buy", outcome, price_pips, 1)
        market.place(seller, "sell", outcome, price_pips, 1)

    return make


def wanted(
    market: WrittenMarket, outcome: str = "Yes", direction: str = "at_or_above", price: str = "0.6000"
):
    return {"market": market.market_id, "outcome": outcome, "direction": direction, "price": price}


@pytest.fixture
def market(follow) -> WrittenMarket:
    made = WrittenMarket()
    follow()
    return made


@pytest.fixture
def mia(make_caller):
    return make_caller("mia")


def told(caller) -> list[str]:
    return [title for _, title in notes_of(str(caller.user.account_id), "price_alert")]


def test_an_alert_fires_once_at_its_price_and_is_spent(mia, market, trade, follow, read_again):
    made = mia.post("/price-alerts", wanted(market))
    assert made.status_code == 201
    assert made.json().items() >= {
        "market_id": market.market_id, "outcome": "Yes", "direction": "at_or_above",
        "price": "0.6000", "fired_at": None,
    }.items()  # fmt: skip
    trade(market, 5_900)
    follow()
    assert told(mia) == []
    trade(market, 6_000)
    follow()
    assert told(mia) == ["Yes traded at $0.6000, at or above $0.6000"]
    trade(market, 7_000)
    follow()
    read_again()
    assert len(told(mia)) == 1
    (row,) = mia.get("/price-alerts").json()["results"]
    assert row["fired_at"] is not None


def test_a_price_that_is_only_touched_within_a_batch_fires_both_ways(mia, market, trade, follow):
    mia.post("/price-alerts", wanted(market))
    mia.post("/price-alerts", wanted(market, direction="at_or_below", price="0.3000"))
    for price_pips in (5_000, 6_500, 2_900, 5_000):
        trade(market, price_pips)
    follow()
    assert sorted(told(mia)) == [
        "Yes traded at $0.2900, at or below $0.3000", "Yes traded at $0.6500, at or above $0.6000",
    ]  # fmt: skip


def test_the_other_side_of_a_binary_market_has_the_complements_price(mia, market, trade, follow):
    mia.post("/price-alerts", wanted(market, outcome="No", direction="at_or_below", price="0.4000"))
    trade(market, 5_900)
    follow()
    assert told(mia) == []
    trade(market, 6_000)
    follow()
    assert told(mia) == ["No traded at $0.4000, at or below $0.4000"]


def test_of_several_outcomes_only_the_one_that_traded_counts(mia, trade, follow):
    market = WrittenMarket(("A", "B", "C"))
    follow()
    for outcome in "ABC":
        mia.post("/price-alerts", wanted(market, outcome=outcome, price="0.5000"))
    trade(market, 5_000, outcome=1)
    follow()
    assert told(mia) == ["B traded at $0.5000, at or above $0.5000"]


def test_trades_from_before_it_was_set_do_not_fire_it(mia, market, trade, follow):
    trade(market, 7_000)
    mia.post("/price-alerts", wanted(market))
    follow()
    assert told(mia) == []


def test_of_trades_that_are_read_at_once_those_from_before_it_was_set_do_not_fire_it(
    mia, market, trade, follow
):
    trade(market, 8_000)
    mia.post("/price-alerts", wanted(market, price="0.7500"))
    trade(market, 4_000)
    follow()
    assert told(mia) == []
    trade(market, 7_600)
    trade(market, 9_000)
    follow()
    assert len(told(mia)) == 1
    assert "traded at $0.7600" in told(mia)[0]


def test_a_trade_in_another_market_fires_nothing(mia, market, trade, follow):
    mia.post("/price-alerts", wanted(market))
    trade(WrittenMarket(), 9_000)
    follow()
    assert told(mia) == []


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"outcome": "Maybe"}, 400), ({"outcome": 0}, 400), ({"direction": "above"}, 400), ({"direction": None}, 400),
        ({"price": "1.0000"}, 400), ({"price": "0"}, 400), ({"price": "-0.1"}, 400), ({"price": "0.00001"}, 400),
        ({"price": "1e-1"}, 400), ({"price": None}, 400), ({"price": True}, 400), ({"price": [0.5]}, 400),
        ({"market": "no-such"}, 404), ({"market": "01920000-0000-7000-8000-000000000000"}, 404), ({"market": 7}, 400),
        ({"x": 1}, 400), ({"account_id": "me"}, 400),
    ],
)  # fmt: skip
def test_an_alert_that_is_not_one_is_refused_and_leaves_nothing(mia, market, change, status):
    from accounts.models import PriceAlert

    assert mia.post("/price-alerts", wanted(market) | change).status_code == status
    assert not PriceAlert.objects.exists()


def test_a_user_has_at_most_fifty_that_wait(mia, market, make_caller):
    from accounts.models import PriceAlert

    for _ in range(50):
        assert mia.post("/price-alerts", wanted(market)).status_code == 201
    assert code_of(mia.post("/price-alerts", wanted(market))) == (422, "exceeds_limits")
    assert make_caller("max").post("/price-alerts", wanted(market)).status_code == 201
    PriceAlert.objects.filter(id=mia.get("/price-alerts").json()["results"][0]["id"]).update(
        fired_at=timezone.now()
    )
    assert mia.post("/price-alerts", wanted(market)).status_code == 201


def test_alerts_are_listed_by_page_and_market_and_deleted_by_their_owner(mia, market, make_caller, follow):
    other = WrittenMarket()
    follow()
    for each in (market, market, other):
        mia.post("/price-alerts", wanted(each))
    page = mia.get("/price-alerts?limit=2").json()
    rest = mia.get(f"/price-alerts?limit=2&cursor={page['next']}").json()
    assert (len(page["results"]), len(rest["results"]), rest["next"]) == (2, 1, None)
    assert len(mia.get(f"/price-alerts?market_id={other.market_id}").json()["results"]) == 1
    identifier = rest["results"][0]["id"]
    assert make_caller("max").delete(f"/price-alerts/{identifier}").status_code == 404
    assert mia.delete(f"/price-alerts/{identifier}").status_code == 204
    assert mia.delete(f"/price-alerts/{identifier}").status_code == 404
    assert mia.delete("/price-alerts/x").status_code == 404
    assert mia.get("/price-alerts?x=1").status_code == 400


def test_a_market_that_has_ended_takes_no_alert_and_keeps_none(mia, market, follow):
    from accounts.models import PriceAlert
    from accounts.notifications.alerts import forget_old

    mia.post("/price-alerts", wanted(market))
    market.resolve((10_000, 0))
    follow()
    assert code_of(mia.post("/price-alerts", wanted(market))) == (422, "market_not_open")
    assert forget_old() == 1
    assert not PriceAlert.objects.exists()


def test_spent_alerts_are_kept_for_thirty_days(mia, market):
    from accounts.models import PriceAlert
    from accounts.notifications.alerts import forget_old

    mia.post("/price-alerts", wanted(market))
    PriceAlert.objects.update(fired_at=timezone.now() - dt.timedelta(days=29))
    assert forget_old() == 0
    PriceAlert.objects.update(fired_at=timezone.now() - dt.timedelta(days=31))
    assert forget_old() == 1


def test_looking_for_alerts_reads_an_index_of_those_that_wait(mia, market):
    from django.db import connection, transaction

    from accounts.notifications.alerts import _REACHED

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {_REACHED}", [[market.market_id], [0], [1], [2], ["2030-01-01T00:00:00Z"]])
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "accounts_alert_armed" in plan
