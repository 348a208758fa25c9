"""The leaderboard: ranks by period and measure, through the API and as a page."""

import datetime as dt
import re

import pytest
from django.db import connection
from django.test import Client
from django.utils.html import escape

from accounts import leaderboard as boards
from accounts import services
from accounts.models import User
from tests.accounts.callers import PASSWORD, Caller, code_of

pytestmark = pytest.mark.django_db

TODAY = dt.date(2026, 11, 27)


@pytest.fixture(autouse=True)
def _today(monkeypatch):
    monkeypatch.setattr(boards, "today", lambda: TODAY)


def user(name):
    return services.register(username=name, password=PASSWORD)


def stood(who, *, days_ago=0, profit=0, volume=0, scores=()):
    """What the projection writes: a day's row, and the same in the one of all time."""
    day = (TODAY - dt.timedelta(days=days_ago)).isoformat()
    with connection.cursor() as cursor:
        for each in (day, "-infinity"):
            cursor.execute(
                "INSERT INTO standing AS s VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (day, account_id) DO UPDATE SET "
                "realized_pips = s.realized_pips + excluded.realized_pips, "
                "volume_pips = s.volume_pips + excluded.volume_pips, "
                "score_sum_e8 = s.score_sum_e8 + excluded.score_sum_e8, "
                "scored_markets = s.scored_markets + excluded.scored_markets",
                [each, who.account_id, profit, volume, sum(scores), len(scores)],
            )


@pytest.fixture
def traders(db):
    """ann was ahead long ago, bob this week, Cyd today."""
    ann, bob, cyd = user("ann"), user("bob"), user("Cyd")
    stood(ann, days_ago=7, profit=900_000, volume=5_000_000, scores=[10**8])
    stood(bob, days_ago=6, profit=500_000, volume=7_000_000, scores=[4 * 10**7, 10**7])
    stood(bob, profit=-100_000, volume=1_000_000)
    stood(cyd, profit=200_000, volume=2_000_000, scores=[25 * 10**6])
    return ann, bob, cyd


def board(**query):
    answer = Client().get("/api/v1/leaderboard", query)
    assert answer.status_code == 200, answer.content
    document = answer.json()
    assert document["next"] is None
    assert isinstance(document["as_of"], str)
    assert [row["rank"] for row in document["results"]] == list(range(1, len(document["results"]) + 1))
    return [(row["username"], row["value"]) for row in document["results"]]


def test_all_time_by_profit_is_what_nobody_asked_for_otherwise(traders):
    assert board() == board(period="all", by="profit")
    assert board() == [("ann", "90.0000"), ("bob", "40.0000"), ("Cyd", "20.0000")]


def test_a_day_begins_at_midnight_utc_and_a_week_has_seven_of_them(traders):
    assert board(period="day") == [("Cyd", "20.0000"), ("bob", "-10.0000")]
    assert board(period="week") == [("bob", "40.0000"), ("Cyd", "20.0000")]


def test_volume_ranks_those_who_have_traded(traders):
    stood(user("dee"), profit=3)
    assert board(by="volume") == [("bob", "800.0000"), ("ann", "500.0000"), ("Cyd", "200.0000")]
    assert board(by="volume", period="day") == [("Cyd", "200.0000"), ("bob", "100.0000")]


def test_accuracy_is_the_mean_score_and_the_lowest_is_first(traders):
    stood(user("dee"), volume=3)
    # Equal to four places and beyond: who has more markets comes first.
    assert board(by="accuracy") == [("bob", "0.2500"), ("Cyd", "0.2500"), ("ann", "1.0000")]
    assert board(by="accuracy", period="day") == [("Cyd", "0.2500")]


def test_a_mean_is_rounded_half_up_and_ranked_as_exact_as_it_is(db):
    one, other = user("aaa"), user("bbb")
    stood(one, scores=[5_001])
    stood(other, scores=[5_000, 5_000])
    stood(user("ccc"), scores=[4_999])
    assert board(by="accuracy") == [("ccc", "0.0000"), ("bbb", "0.0001"), ("aaa", "0.0001")]


def test_equal_values_go_by_name_whatever_its_case(db):
    for name in ("bea", "Abe", "Cal"):
        stood(user(name), profit=100)
    assert [name for name, _ in board()] == ["Abe", "bea", "Cal"]


def test_accounts_without_a_user_are_not_ranked(traders):
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO standing VALUES ('-infinity', gen_random_uuid(), 10000000, 1, 0, 0)")
    assert len(board()) == 3


def test_the_limit_cuts_and_is_at_most_a_hundred(traders):
    assert board(limit=1) == [("ann", "90.0000")]
    assert len(board(limit=100)) == 3


@pytest.mark.parametrize(
    "query",
    [
        {"period": "month"}, {"period": ""}, {"by": "Profit"}, {"by": "realized_pips; DROP TABLE standing"},
        {"limit": "101"}, {"limit": "0"}, {"limit": "x"}, {"cursor": "abc"}, {"user": "ann"}, {"min_as_of": "x"},
    ],
)  # fmt: skip
def test_parameters_that_make_no_sense_are_refused(query):
    assert code_of(Client().get("/api/v1/leaderboard", query)) == (400, "invalid_request")


def test_a_bad_key_is_not_taken_for_nobody():
    assert code_of(Caller("pm_bad").get("/leaderboard")) == (401, "not_authenticated")


# The page ----------------------------------------------------------------------------------------


def page(client=None, **query):
    answer = (client or Client()).get("/leaderboard", query)
    assert answer.status_code == 200
    return answer.content.decode()


def shown(text):
    """(rank, name, value) of each row."""
    body = text[text.index("<tbody>") : text.index("</tbody>")]
    return [
        tuple(re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.S))
        for row in re.findall(r"<tr[^>]*>(.*?)</tr>", body, re.S)
    ]


def test_the_page_shows_the_same_ranks(traders):
    assert shown(page()) == [("1", "ann", "+$90.00"), ("2", "bob", "+$40.00"), ("3", "Cyd", "+$20.00")]
    assert shown(page(period="day", by="profit"))[1] == ("2", "bob", "−$10.00")
    assert shown(page(by="volume"))[0] == ("1", "bob", "$800.00")
    assert shown(page(by="accuracy"))[0] == ("1", "bob", "0.2500")


def test_tabs_are_links_that_keep_the_other_choice(traders):
    text = page(period="week", by="volume")
    assert 'href="?period=week&amp;by=accuracy"' in text
    assert 'href="?period=day&amp;by=volume"' in text
    assert re.findall(r'aria-current="true">([^<]+)</a>', text) == ["Volume", "7 days"]


def test_the_own_row_is_marked_for_who_is_signed_in(traders):
    assert 'class="own"' not in page()
    client = Client()
    client.force_login(traders[1], backend="django.contrib.auth.backends.ModelBackend")
    text = page(client)
    assert text.count('class="own"') == 1
    assert re.search(r'class="own".*?bob', text, re.S)
    assert "You</span>" in text


def test_an_empty_board_says_so():
    assert "Nobody yet" in page()
    assert "resolved" in page(by="accuracy")


@pytest.mark.parametrize("query", [{"period": "x"}, {"by": "<script>"}, {"by": "", "period": ""}])
def test_a_page_that_is_asked_nonsense_shows_the_usual_board(traders, query):
    text = page(**query)
    assert shown(text)[0][1] == "ann"
    assert "<script>" not in text.replace('<script type="module"', "")


def test_names_are_escaped(traders):
    User.objects.filter(pk=traders[0].pk).update(username="<b>ann</b>")
    assert escape("<b>ann</b>") in page()


def test_the_navigation_leads_there():
    assert '<a href="/leaderboard" aria-current="page">Leaderboard</a>' in page()
