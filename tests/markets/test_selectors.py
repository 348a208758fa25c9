"""Finding markets, by id, slug, words and page after page."""

import dataclasses
import datetime as dt
import random
from itertools import chain

import msgspec
import pytest
from django.utils import timezone

from markets import quotes, selectors
from markets.selectors import Wanted
from tests.markets.conftest import NOW, add_bars
from trading.errors import InvalidRequest, NotFound
from trading.selectors.prices import feed_valkey

pytestmark = pytest.mark.django_db


def questions(limit=50, cursor=None, **wanted):
    return [row.question for row in selectors.page(Wanted(**wanted), limit=limit, cursor=cursor).rows]


def all_pages(wanted, limit):
    cursor, found = None, []
    while True:
        page = selectors.page(wanted, limit=limit, cursor=cursor)
        found.append([row.question for row in page.rows])
        cursor = page.next
        if cursor is None:
            return found


def test_market_is_found_by_id_and_by_slug(listed):
    row = listed("Will both ways lead here?")
    assert selectors.find(row.market_id) == selectors.find("will-both-ways-lead-here") == row
    assert selectors.find(row.market_id.upper()) == row


@pytest.mark.parametrize("name", ["", "no-such-market", "\0", "x" * 5000, "0190-1", "é"])
def test_unknown_names_are_not_found(name):
    with pytest.raises(NotFound):
        selectors.find(name)


def test_text_that_the_engine_has_not_confirmed_is_not_shown(listed):
    from markets.models import Market

    market = Market.objects.create(
        slug="unconfirmed", question="Was this confirmed?", category="x", outcomes=["Yes", "No"]
    )
    assert questions() == []
    with pytest.raises(NotFound):
        selectors.find(str(market.market_id))


def test_pages_by_volume_give_each_market_once_also_among_equals(listed):
    for number, volume in enumerate([5, 5, 0, 9, 5, 0]):
        listed(f"Market number {number} of six?", summary={"volume_pips": volume})
    pages = all_pages(Wanted(ordering="volume"), limit=2)
    assert [len(page) for page in pages] == [2, 2, 2]
    assert pages[0][0] == "Market number 3 of six?"
    assert sorted(chain.from_iterable(pages)) == [f"Market number {n} of six?" for n in range(6)]


def test_closing_soonest_comes_first_and_newest_is_the_default(listed):
    for number in (2, 0, 1):
        listed(
            f"Market that closes as number {number}?",
            created_at=NOW + dt.timedelta(hours=number, microseconds=number),
            closes_at=NOW + dt.timedelta(days=1 + number, microseconds=7),
        )
    soonest = all_pages(Wanted(ordering="closes_at"), limit=1)
    newest = all_pages(Wanted(), limit=1)
    assert [page[0][-2] for page in soonest] == ["0", "1", "2"]
    assert [page[0][-2] for page in newest] == ["2", "1", "0"]


def test_cursor_of_another_ordering_is_refused(listed):
    for number in range(2):
        listed(f"Market number {number} of two?")
    cursor = selectors.page(Wanted(ordering="volume"), limit=1, cursor=None).next
    for wrong in (cursor, "nonsense", "", "\0", "a" * 5000):
        with pytest.raises(InvalidRequest):
            selectors.page(Wanted(ordering="closes_at"), limit=1, cursor=wrong)


@pytest.mark.parametrize(
    "words", ["inflation", "inflations", "infla", '"fall below target"', "euro infl", "Euro -rain"]
)
def test_words_are_found_in_question_and_criteria_by_stem_and_beginning(listed, words):
    listed("Will inflation fall below target?", criteria="As published for the euro area.")
    listed("Will it rain on Sunday at noon?", criteria="By the gauge; euro or not.")
    assert questions(query=words) == ["Will inflation fall below target?"]


@pytest.mark.parametrize("words", ["&", "!!", "a:*|b", "'", "\\", "(", "<->", "zzz", "%", "-rain"])
def test_search_takes_any_text_without_error(listed, words):
    listed("Will rain fall on the tests?")
    assert questions(query=words) == []


def test_filters_narrow_by_status_and_category(listed):
    listed("Will this one stay open?", category="sport")
    listed("Will this one stay closed?", category="sport", status="closed")
    listed("Will this one be elsewhere?", category="culture")
    assert questions(statuses=["open"], category="sport") == ["Will this one stay open?"]
    assert selectors.categories() == [("culture", 1), ("sport", 1)]


# Quotes -------------------------------------------------------------------------------------------


def publish(row, **ticker):
    stored = {
        "seq": 9, "status": "open", "last": [6_000, 4_000], "bid": [5_900, None], "ask": [None, 4_100],
        "volume_pips": 77, "open_interest": 5, **ticker,
    }  # fmt: skip
    feed_valkey().set(f"ticker:{row.market_id}", msgspec.msgpack.encode(stored), ex=60)


def test_quotes_come_from_the_published_ticker_where_it_is_newer(listed):
    row = listed("Will the ticker be believed?", summary={"volume_pips": 70, "last_prices": [5_000, 5_000]})
    publish(row, status="suspended")
    found = quotes.quotes_of(row)
    assert (found.status, found.volume_pips, found.open_interest_sets, found.seq) == ("suspended", 77, 5, 9)
    assert [(q.last_pips, q.bid_pips, q.ask_pips) for q in found.outcomes] == [
        (6_000, 5_900, None),
        (4_000, None, 4_100),
    ]


def test_figures_come_from_the_read_model_where_the_ticker_is_older(listed):
    row = listed("Will the rows be believed?", summary={"volume_pips": 90, "seq": 12}, status="closed")
    publish(row)
    found = quotes.quotes_of(row)
    assert (found.status, found.volume_pips, found.seq) == ("closed", 90, 12)


@pytest.mark.parametrize("stored", [None, b"\xff\xff", msgspec.msgpack.encode({"seq": 1})])
def test_without_a_readable_ticker_last_prices_are_known_and_the_rest_is_unknown(listed, stored):
    row = listed("Will unknown be shown as zero?", summary={"last_prices": [6_500, None]})
    if stored is not None:
        feed_valkey().set(f"ticker:{row.market_id}", stored, ex=60)
    found = quotes.quotes_of(row).outcomes
    assert [(q.last_pips, q.bid_pips, q.ask_pips, q.chance_pips) for q in found] == [
        (6_500, None, None, 6_500),
        (None, None, None, None),
    ]


def test_volume_of_a_day_leaves_out_what_is_older(listed, monkeypatch):
    from django.utils import timezone

    from markets.volumes import day_before

    row = listed("Will yesterday's volume count?", summary={"volume_pips": 10 + 20 + 30 + 400 + 500})
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now)
    for minutes, volume, price in (
        (1, 10, 7_000),
        (1380, 20, 6_500),
        (1440, 30, 6_000),
        (1441, 400, 5_500),
        (1500, 500, 5_000),
    ):
        add_bars(row, now - dt.timedelta(minutes=minutes), volume=volume, price=price)
    assert day_before([row]) == {row.market_id: (400 + 500, [5_500, 4_500])}


def test_prices_of_a_day_ago_are_each_outcomes_last_and_unknown_before_its_first_trade(listed):
    from django.utils import timezone

    from markets.representation import markets_json

    row = listed(
        "Who will have moved most?",
        outcomes=("A", "B", "C"),
        summary={"last_prices": [6_000, 2_500, None], "seq": 9},
    )
    long_ago, lately = (timezone.now() - dt.timedelta(hours=hours) for hours in (60, 2))
    for outcome, at, price in ((0, long_ago, 6_500), (1, lately, 3_000), (0, lately, 6_400)):
        add_bars(row, at, outcome=outcome, volume=1, price=price)
    (shown,) = markets_json([row])
    assert [each["price_change_24h"] for each in shown["outcomes"]] == ["-0.0500", None, None]


def test_whatever_is_searched_for_finds_something_or_nothing(listed):
    listed("Will inflation be above three per cent?")
    chance = random.Random(7)
    words = ["-", "--", '"', " ", "inflation", "or", "and", "&", "!", "(", ":*", "é", "'", "\\"]
    texts = [
        "".join(chance.choices(words, k=chance.randint(1, 60)))[: selectors.QUERY_MAX] for _ in range(200)
    ]
    texts += ["-" * 200, "- " * 100, "-a " * 66, '-"' * 100, "a-" * 100, "or " * 66]
    for text in texts:
        questions(query=text)
    assert questions(query="inflation -nothing") == ["Will inflation be above three per cent?"]
    assert questions(query="three -inflation") == []
    assert len(questions(query="infla-")) == len(questions(query="three--cent")) == 1


def test_prices_from_before_what_the_row_tells_are_not_shown(listed):
    row = listed("Which price is the newest here?", summary={"last_prices": [6000, 4000], "seq": 9})
    ticker = quotes._Ticker(8, "open", [5000, 5000], [4900, 4900], [5100, 5100], 1, 1)
    late = dataclasses.replace(row, updated_at=timezone.now() - dt.timedelta(seconds=quotes.PUBLISHED_S))
    assert vars_of(quotes.quotes_from(late, ticker, 8).outcomes[0]) == (6000, None, None)
    assert vars_of(quotes.quotes_from(late, ticker, 9).outcomes[0]) == (5000, 4900, 5100)
    # What is committed is published a moment after.
    just_now = dataclasses.replace(row, updated_at=timezone.now())
    assert vars_of(quotes.quotes_from(just_now, ticker, 8).outcomes[0]) == (6000, 4900, 5100)


def vars_of(quote):
    return quote.last_pips, quote.bid_pips, quote.ask_pips
