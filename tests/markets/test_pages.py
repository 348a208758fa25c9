"""The pages as the server renders them, without a browser."""

import datetime as dt

import pytest
from django.test import Client
from django.utils import timezone

from tests.markets.conftest import NOW, add_bars

pytestmark = pytest.mark.django_db


@pytest.fixture
def browser():
    return Client()


@pytest.fixture
def signed_in(browser):
    from accounts import services

    user = services.register(username="reader", password="correct-horse-battery")
    browser.force_login(user)
    return browser


def text_of(answer):
    return answer.content.decode()


def test_list_shows_open_markets_and_says_when_there_is_nothing(browser, listed):
    assert "There is nothing here yet" in text_of(browser.get("/"))
    listed("Will this be listed today?", summary={"last_prices": [6_300, 3_700], "volume_pips": 15_000_000})
    listed("Will that be hidden today?", status="closed")
    page = text_of(browser.get("/"))
    assert "Will this be listed today?" in page
    assert "63%" in page
    assert "$1.5K" in page
    assert "Will that be hidden today?" not in page


@pytest.mark.parametrize(
    "query",
    [
        "?status=nonsense",
        "?ordering=x",
        "?q=%00",
        "?category=%00&q=%27%22%3C",
        "?q=" + "x" * 5000,
        "?status=",
    ],
)
def test_list_takes_any_parameters(browser, listed, query):
    listed("Will odd parameters be borne?")
    assert browser.get(f"/{query}").status_code == 200


def test_list_with_a_foul_cursor_begins_again(browser):
    answer = browser.get("/?cursor=nonsense")
    assert (answer.status_code, answer["Location"]) == (302, "/")


def test_part_of_the_list_comes_without_the_frame(browser, listed):
    listed("Will the frame be left out?")
    part = text_of(browser.get("/", headers={"X-Part": "1"}))
    assert "Will the frame be left out?" in part
    assert "<html" not in part


def test_market_is_at_its_slug_and_its_id_leads_there(browser, listed):
    row = listed("Will the slug be the address?")
    assert browser.get(f"/markets/{row.market_id}")["Location"] == f"/markets/{row.slug}"
    assert browser.get(f"/markets/{row.slug}").status_code == 200
    assert browser.get("/markets/no-such-market").status_code == 404


def test_what_people_write_is_escaped(browser, listed):
    row = listed(
        "Will <script>alert(1)</script> run?", outcomes=("<b>Yes", "No\"'>"), criteria="</script><i>"
    )
    page = text_of(browser.get(f"/markets/{row.slug}"))
    assert "<script>alert" not in page
    assert "<b>Yes" not in page
    assert "</script><i>" not in page


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"status": "suspended"}, "Trading is suspended"),
        ({"status": "closed"}, "Closed, waiting for the result"),
        ({"status": "draft", "opens_at": NOW + dt.timedelta(1)}, "Not open yet"),
        (
            {"status": "resolved", "resolved_at": NOW, "resolution": {
                "kind": "resolve", "payouts": [0, 10_000], "evidence": "https://example.org", "settlement": "s"}},
            "Resolved: No",
        ),
        (
            {"status": "resolved", "resolved_at": NOW, "resolution": {
                "kind": "resolve", "payouts": [5_000, 5_000], "evidence": "a tie", "settlement": "s"}},
            "Resolved as a tie",
        ),
        (
            {"status": "voided", "resolved_at": NOW, "resolution": {
                "kind": "void", "payouts": None, "evidence": "by mistake", "settlement": "s"}},
            "Voided",
        ),
    ],
)  # fmt: skip
def test_market_that_is_not_open_says_why_and_takes_no_orders(browser, listed, state, words):
    row = listed("Will the state be shown?", **state)
    page = text_of(browser.get(f"/markets/{row.slug}"))
    assert words in page
    assert '<fieldset class="card-body stack" id="ticket-fields" disabled>' in page


def test_prices_that_are_unknown_are_not_shown_as_zero(browser, listed):
    row = listed("Will unknown be a dash?")
    page = text_of(browser.get(f"/markets/{row.slug}"))
    assert '<span class="chance" data-figure="chance">\N{EN DASH}</span>' in page
    assert "0¢</span>" not in page


def test_pages_say_how_far_a_price_has_come_in_a_day_and_nothing_where_that_is_unknown(browser, listed):
    row = listed("Will it have moved since yesterday?", summary={"last_prices": [6_550, 3_450], "seq": 9})
    add_bars(row, timezone.now() - dt.timedelta(hours=30), volume=1, price=6_000)
    for path in ("/", f"/markets/{row.slug}"):
        assert "+5.5¢" in text_of(browser.get(path))
    assert "−5.5¢" in text_of(browser.get(f"/markets/{row.slug}"))
    unknown = listed("Will it have moved since it began?", summary={"last_prices": [6_550, 3_450], "seq": 9})
    assert 'data-figure="change"' not in browser.get(f"/markets/{unknown.slug}").content.decode()


def test_portfolio_asks_to_sign_in_and_greets_an_empty_account(browser, signed_in):
    assert "No positions yet" in text_of(signed_in.get("/portfolio"))
    browser.logout()
    assert browser.get("/portfolio")["Location"] == "/sign-in?next=/portfolio"


def test_own_part_of_a_market_is_for_its_owner(browser, signed_in, listed):
    row = listed("Will only the owner see it?")
    assert "You hold no shares here yet" in text_of(signed_in.get(f"/markets/{row.slug}/mine"))
    browser.logout()
    assert browser.get(f"/markets/{row.slug}/mine").status_code == 401


def test_pages_and_catalogue_do_without_valkey(browser, listed, monkeypatch, settings):
    """Nobody listens at that port."""
    import redis

    lost = "redis://127.0.0.1:1/0"
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": lost}}
    nobody = redis.Redis.from_url(lost, socket_connect_timeout=0.1)
    monkeypatch.setattr("markets.quotes.feed_valkey", lambda: nobody)
    row = listed("Will it work without Valkey?", summary={"last_prices": [6_500, 3_500]})
    assert "65%" in text_of(browser.get("/"))
    assert "65%" in text_of(browser.get(f"/markets/{row.slug}"))
    (market,) = browser.get("/api/v1/markets").json()["results"]
    assert (market["outcomes"][0]["last_price"], market["outcomes"][0]["best_bid"]) == ("0.6500", None)


def test_list_reads_the_database_as_often_for_many_markets_as_for_one(
    browser, listed, django_assert_max_num_queries
):
    for number in range(12):
        listed(f"Market number {number} of twelve?")
    with django_assert_max_num_queries(4):
        browser.get("/")
