"""Market data, the same on both lanes: what was just done is in it, and who has it already is told so."""

from typing import Any

import httpx
import pytest

from tests.api.bot import Bot, Lane, Market, document
from tests.api.conftest import MakeMarket
from trading.checksum import book_checksum

KINDS = ["", "/orderbook", "/trades"]


@pytest.fixture(scope="module")
def public(lane: Lane):
    """A caller without a key."""
    with httpx.Client(base_url=f"{lane.url}/api/v1", timeout=30) as client:
        yield client


def get(public: httpx.Client, market: Market, kind: str, **query: Any) -> Any:
    answer = public.get(f"/markets/{market.market_id}{kind}", params=query)
    assert answer.status_code == 200, answer.text
    return document(answer)


def test_book_of_the_moment_after_each_order(public, make_market: MakeMarket, alice: Bot):
    market = make_market()
    for number in range(1, 6):
        order = alice.buy(market, "0.4000", 10)
        book = get(public, market, "/orderbook", min_as_of=order["as_of"])
        assert (book["bids"], book["asks"]) == ([["0.4000", 10 * number]], [])
        assert book["seq"] >= order["seq"]


def test_both_outcomes_show_the_one_book(public, make_market: MakeMarket, alice: Bot):
    market = make_market()
    alice.buy(market, "0.4000", 10)
    order = alice.sell(market, "0.6000", 3)
    yes = get(public, market, "/orderbook", outcome="Yes", min_as_of=order["as_of"])
    no = get(public, market, "/orderbook", outcome="No")
    assert (yes["bids"], yes["asks"]) == ([["0.4000", 10]], [["0.6000", 3]])
    assert (no["outcome"], no["bids"], no["asks"]) == ("No", [["0.4000", 3]], [["0.6000", 10]])
    assert yes["checksum"] == book_checksum([("Yes", [(4000, 10)], [(6000, 3)])])
    assert no["checksum"] == book_checksum([("No", [(4000, 3)], [(6000, 10)])])
    assert get(public, market, "/orderbook", depth=1, outcome="Yes") == {**yes, "as_of": yes["as_of"]}


def test_depth_cuts_levels_and_not_the_checksum(public, make_market: MakeMarket, alice: Bot):
    market = make_market()
    for price in ("0.1000", "0.2000", "0.3000"):
        last = alice.buy(market, price, 1)
    whole = get(public, market, "/orderbook", min_as_of=last["as_of"])
    cut = get(public, market, "/orderbook", depth=2)
    assert cut["bids"] == whole["bids"][:2] == [["0.3000", 1], ["0.2000", 1]]
    assert cut["checksum"] == whole["checksum"]


def test_trades_and_the_market_tell_of_an_execution(public, make_market: MakeMarket, alice: Bot, bob: Bot):
    market = make_market()
    get(public, market, "")
    get(public, market, "/trades")
    alice.sell(market, "0.6000", 5)
    bought = bob.buy(market, "0.6000", 5)
    trades = get(public, market, "/trades", min_as_of=bought["as_of"])
    assert [(t["price"], t["quantity"], t["taker_side"]) for t in trades["results"]] == [("0.6000", 5, "buy")]
    assert get(public, market, "/trades", limit=1, min_as_of=bought["as_of"])["next"] is None
    found = get(public, market, "", min_as_of=bought["as_of"])
    yes, no = found["outcomes"]
    assert (yes["last_price"], no["last_price"]) == ("0.6000", "0.4000")
    assert (found["volume"], found["volume_24h"], found["trade_count"]) == ("3.0000", "3.0000", 1)
    assert (found["trader_count"], found["open_interest"]) == (2, 5)


def test_a_slug_serves_wherever_an_id_does(public, make_market: MakeMarket):
    market = make_market()
    by_id = get(public, market, "")
    for kind in KINDS:
        answer = public.get(f"/markets/{by_id['slug']}{kind}")
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("kind", KINDS)
def test_who_has_an_answer_already_gets_none(public, make_market: MakeMarket, kind):
    market = make_market()
    path = f"/markets/{market.market_id}{kind}"
    first = public.get(path)
    assert first.headers["Cache-Control"] == "public, max-age=1"
    again = public.get(path, headers={"If-None-Match": first.headers["ETag"]})
    if again.status_code == 200:  # the read models have come on meanwhile
        again = public.get(path, headers={"If-None-Match": again.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


WRONG = [
    ("/orderbook", {"depth": "0"}), ("/orderbook", {"depth": "501"}), ("/orderbook", {"depth": "x"}),
    ("/orderbook", {"outcome": "Maybe"}), ("/orderbook", {"at": "yesterday"}), ("/orderbook", {"x": "1"}),
    ("/orderbook", {"min_as_of": "0-99999999999"}), ("/orderbook", {"min_as_of": "nonsense"}),
    ("/orderbook", {"require_fresh": "maybe"}), ("/trades", {"limit": "0"}), ("/trades", {"limit": "501"}),
    ("/trades", {"cursor": "nonsense"}), ("/trades", {"depth": "5"}), ("", {"outcome": "Yes"}),
    ("", {"min_as_of": "99-1"}), ("", {"require_fresh": ""}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "query"), WRONG)
def test_parameters_that_mean_nothing_are_refused(public, make_market: MakeMarket, kind, query):
    market = make_market()
    answer = public.get(f"/markets/{market.market_id}{kind}", params=query)
    assert (answer.status_code, document(answer)["code"]) == (400, "invalid_request")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["nowhere", "0199aaaa-0000-7000-8000-000000000001", "%00"])
def test_unknown_market_is_not_found(public, kind, name):
    answer = public.get(f"/markets/{name}{kind}")
    assert (answer.status_code, document(answer)["code"]) == (404, "not_found")


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_that_does_not_count_is_refused_even_where_none_is_needed(
    public, make_market: MakeMarket, kind
):
    market = make_market()
    headers = {"Authorization": "Bearer pm_nonsense"}
    assert public.get(f"/markets/{market.market_id}{kind}", headers=headers).status_code == 401


def test_a_past_book_is_read_through(public, make_market: MakeMarket, alice: Bot):
    market = make_market()
    order = alice.buy(market, "0.4000", 10)
    alice.buy(market, "0.5000", 10)
    past = get(public, market, "/orderbook", at=order["created_at"])
    assert past["bids"] in ([], [["0.4000", 10]])


@pytest.mark.parametrize("kind", KINDS)
def test_require_fresh_reads_what_was_just_committed(public, make_market: MakeMarket, alice: Bot, kind):
    market = make_market()
    order = alice.buy(market, "0.4000", 10)
    found = get(public, market, kind, require_fresh="true")
    assert found["as_of"]
    if kind == "/orderbook":
        assert found["seq"] >= order["seq"]
