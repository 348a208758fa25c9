"""The admin's page of a resolver: chosen, judged, tried without consequences, saved, taken away, by those who may."""

from typing import Any

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db

BY_VALUE = {"path": "$.result", "values": "home => Yes\naway => No"}


@pytest.fixture
def operator() -> Client:
    from accounts.models import User

    client = Client()
    client.force_login(User.objects.create_superuser("operator", "", "correct-horse-battery"))
    return client


@pytest.fixture
def row(listed: Any) -> Any:
    return listed("Will the home team win?", status="closed")


def page_of(row: Any) -> str:
    return f"/admin/markets/market/{row.market_id}/resolver/"


def stored() -> Any:
    from markets.models import MarketResolver

    return MarketResolver.objects.first()


def shown(answer: Any) -> str:
    return answer.content.decode()


def test_a_market_is_given_a_resolver_and_its_page_says_so(operator: Client, row: Any, source: Any) -> None:
    assert "json_url" in shown(operator.get(page_of(row)))
    assert "name=" in shown(operator.get(f"{page_of(row)}?resolver=json_url"))
    form = {**BY_VALUE, "url": source.url, "_resolver": "json_url", "_save": "Save"}
    answer = operator.post(page_of(row), form, follow=True)
    assert "is asked once the market has closed" in shown(answer)
    assert (stored().name, stored().settings["url"]) == ("json_url", source.url)
    assert source.url in shown(answer), "its form shows what is stored"
    market = shown(operator.get(f"/admin/markets/market/{row.market_id}/change/"))
    assert "json_url, not asked yet" in market
    assert page_of(row) in market
    assert "Resolver json_url" in shown(operator.get(f"/admin/markets/market/{row.market_id}/history/"))


def test_settings_that_will_not_do_are_told_at_their_fields(operator: Client, row: Any) -> None:
    form = {
        **BY_VALUE,
        "url": "http://a.example:25/",
        "path": "$..x",
        "_resolver": "json_url",
        "_save": "Save",
    }
    answer = shown(operator.post(page_of(row), form))
    assert "The port is 80, 443 or at least 1024." in answer
    assert "Must be $ and then names" in answer
    assert stored() is None


def test_a_trial_shows_what_would_be_decided_and_proposes_nothing(
    operator: Client, row: Any, source: Any, gateway: Any
) -> None:
    source.says({"result": "home", "note": "<script>alert(1)</script>"})
    form = {**BY_VALUE, "url": source.url, "_resolver": "json_url", "_try": "Try now"}
    answer = shown(operator.post(page_of(row), form))
    assert "It would propose Yes" in answer
    assert "SHA-256 of the body" in answer
    assert "&lt;script&gt;" in answer
    assert "<script>alert" not in answer
    assert (stored(), gateway.commands) == (None, [])


@pytest.mark.parametrize(
    ("document", "says", "because"),
    [
        ({"result": None}, "No answer yet", "null at $.result"),
        ({"result": "abandoned"}, "It would fail", "no meaning in the settings"),
        ({"result": [1]}, "It would fail", "an array"),
    ],
)
def test_a_trial_says_why_there_is_no_answer(
    operator: Client, row: Any, source: Any, document: Any, says: str, because: str
) -> None:
    source.says(document)
    form = {**BY_VALUE, "url": source.url, "_resolver": "json_url", "_try": "Try now"}
    answer = shown(operator.post(page_of(row), form))
    assert says in answer
    assert because in answer


def test_a_trial_reaches_no_place_inside(operator: Client, row: Any, source: Any, settings: Any) -> None:
    settings.OUTSIDE_ALLOW = []
    form = {**BY_VALUE, "url": source.url, "_resolver": "json_url", "_try": "Try now"}
    assert "not on the public internet" in shown(operator.post(page_of(row), form))
    assert source.server.asked == []


def test_a_resolver_is_taken_away(operator: Client, row: Any, source: Any) -> None:
    operator.post(page_of(row), {**BY_VALUE, "url": source.url, "_resolver": "json_url", "_save": "Save"})
    answer = operator.post(page_of(row), {"_remove": "Take the resolver away"}, follow=True)
    assert "has no resolver any more" in shown(answer)
    assert stored() is None


def test_a_market_that_has_ended_is_given_none(operator: Client, listed: Any, source: Any) -> None:
    row = listed("Will it be asked afterwards?", status="resolved")
    form = {**BY_VALUE, "url": source.url, "_resolver": "json_url", "_save": "Save"}
    assert "The market has ended." in shown(operator.post(page_of(row), form))
    assert stored() is None


def test_an_unknown_resolver_is_no_page_of_its_own(operator: Client, row: Any) -> None:
    assert "vURLField" not in shown(operator.get(f"{page_of(row)}?resolver=oracle"))
    assert operator.post(page_of(row), {"_resolver": "oracle", "_save": "Save"}).status_code == 200
    assert stored() is None


def test_who_may_not_change_markets_neither_sees_nor_tries_resolvers(row: Any, source: Any) -> None:
    from accounts.models import User

    client = Client()
    client.force_login(User.objects.create_user("clerk", "", "correct-horse-battery", is_staff=True))
    form = {**BY_VALUE, "url": source.url, "_resolver": "json_url", "_try": "Try now"}
    assert client.get(page_of(row)).status_code == 403
    assert client.post(page_of(row), form).status_code == 403
    assert source.server.asked == []


def test_a_new_market_leads_on_to_the_page_of_the_resolver_that_was_chosen(
    operator: Client, gateway: Any
) -> None:
    from markets.models import Market

    form = {
        "question": "Will this question be answered?", "category": "tests", "outcomes": "Yes\nNo",
        "resolution_criteria": "As it says.", "closes_at_0": "2040-01-01", "closes_at_1": "12:00", "tick": "0.01",
        "taker_fee": "0", "maker_fee": "0", "resolver": "price_feed",
    }  # fmt: skip
    answer = operator.post("/admin/markets/market/add/", form)
    market_id = Market.objects.get().market_id
    assert answer["Location"] == f"/admin/markets/market/{market_id}/resolver/?resolver=price_feed"


def test_the_public_api_takes_no_resolver(gateway: Any) -> None:
    from accounts.models import User

    client = Client()
    client.force_login(User.objects.create_superuser("operator", "", "correct-horse-battery"))
    body = {
        "question": "Will this question be answered?", "category": "tests", "outcomes": ["Yes", "No"],
        "resolution_criteria": "As it says.", "closes_at": "2040-01-01T12:00:00Z", "resolver": "json_url",
    }  # fmt: skip
    answer = client.post("/api/v1/markets", body, content_type="application/json")
    assert answer.status_code == 400
    assert "resolver" in answer.json()["errors"]
    assert gateway.commands == []
