"""price_feed: two readings in a row have to agree on a price of the right time; stale and future ones do not count."""

import datetime as dt
import json
from typing import Any

import pytest

from markets.resolvers.plugin import AskedMarket, Decision, NotYet
from markets.resolvers.price_feed import BETWEEN_S, PriceFeed, PriceFeedForm
from trading.jobs import GiveUp

CLOSES = dt.datetime(2027, 1, 31, 12, tzinfo=dt.UTC)
SETTINGS = {
    "symbol": "BTC-USD", "comparison": ">=", "threshold": "100000", "at": "", "max_age_s": 60,
    "outcome_if_true": "Yes", "outcome_if_false": "No",
}  # fmt: skip


class Asked:
    """A market whose resolver is asked at the seconds after its closing time that the test says."""

    def __init__(self, source: Any, **changes: Any) -> None:
        self.source = source
        form = PriceFeedForm(("Yes", "No"), {**SETTINGS, "base_url": source.server.url, **changes})
        assert form.is_valid(), form.errors
        self.settings = form.cleaned_data
        self.kept: dict[str, Any] = {}

    def at(self, seconds: float, price: str, *, of: float | None = None) -> Decision | NotYet:
        """The answer where the feed then has that price, of that second."""
        moment = CLOSES + dt.timedelta(seconds=seconds if of is None else of)
        self.source.says({"symbol": "BTC-USD", "price": price, "time": moment.isoformat()})
        now = CLOSES + dt.timedelta(seconds=seconds)
        market = AskedMarket("m", "Will it?", ("Yes", "No"), CLOSES, self.kept)
        answer = PriceFeed().decide(self.settings, market, now)
        if isinstance(answer, NotYet):
            self.kept = json.loads(json.dumps(answer.kept))
        return answer


def test_two_readings_that_agree_decide_with_both_in_the_evidence(source: Any) -> None:
    asked = Asked(source)
    first = asked.at(1, "100000")
    assert isinstance(first, NotYet)
    assert first.retry_in_s == BETWEEN_S
    second = asked.at(11, "100000.01")
    assert isinstance(second, Decision)
    assert (second.outcome, second.evidence.value) == ("Yes", "100000.01")
    assert "100000 at 2027-01-31T12:00:01+00:00" in second.because
    assert source.server.asked[0].path == "/BTC-USD"


def test_prices_are_compared_exactly(source: Any) -> None:
    for price, outcome in (("99999.999999999999999999", "No"), ("100000.000000000000000000", "Yes")):
        asked = Asked(source)
        asked.at(1, price)
        answer = asked.at(11, price)
        assert isinstance(answer, Decision)
        assert answer.outcome == outcome


def test_readings_that_disagree_begin_anew(source: Any) -> None:
    asked = Asked(source)
    assert isinstance(asked.at(1, "100001"), NotYet)
    assert isinstance(asked.at(11, "99999"), NotYet)
    assert isinstance(asked.at(21, "100001"), NotYet)
    answer = asked.at(31, "100002")
    assert isinstance(answer, Decision)
    assert answer.outcome == "Yes"


def test_one_price_read_twice_is_one_reading(source: Any) -> None:
    asked = Asked(source)
    asked.at(1, "100001", of=1)
    assert isinstance(asked.at(11, "100001", of=1), NotYet)
    assert isinstance(asked.at(21, "100001", of=20), Decision)


@pytest.mark.parametrize(
    ("of", "said"), [(-40, "stale"), (-0.001, "before"), (37, "future")], ids=["stale", "early", "future"]
)
def test_a_price_of_another_time_does_not_count_and_breaks_the_row(source: Any, of: float, said: str) -> None:
    asked = Asked(source)
    asked.at(1, "100001")
    broken = asked.at(30, "100001", of=of)
    assert isinstance(broken, NotYet)
    assert said in broken.reason
    assert isinstance(asked.at(41, "100001"), NotYet)
    assert isinstance(asked.at(51, "100001"), Decision)


def test_the_first_price_is_not_one_of_hours_later(source: Any) -> None:
    asked = Asked(source)
    with pytest.raises(GiveUp, match="is not the first one"):
        asked.at(7_200, "100001")


def test_a_failure_between_them_breaks_the_row(source: Any) -> None:
    asked = Asked(source)
    asked.at(1, "100001")
    source.sends(b"{}", status=503)
    market = AskedMarket("m", "Will it?", ("Yes", "No"), CLOSES, asked.kept)
    answer = PriceFeed().decide(asked.settings, market, CLOSES + dt.timedelta(seconds=11))
    assert isinstance(answer, NotYet)
    assert answer.kept == {}


def test_before_its_time_the_feed_is_not_asked(source: Any) -> None:
    asked = Asked(source, at="2027-01-31T13:00:00+01:00")
    assert isinstance(asked.at(1, "100001"), NotYet)
    assert asked.kept != {}, "one o'clock there is the closing time"
    source.server.asked.clear()
    early = Asked(source, at="2027-01-31T14:00:00Z")
    answer = early.at(0, "100001")
    assert isinstance(answer, NotYet)
    assert (answer.retry_in_s, source.server.asked) == (7200, [])


@pytest.mark.parametrize(
    "changes",
    [
        {"symbol": "ETH-USD"}, {"symbol": None}, {"price": 100000}, {"price": "1e5"}, {"price": "NaN"}, {"price": ""},
        {"price": None}, {"price": ["1"]}, {"time": 1}, {"time": "now"}, {"time": "2027-02-30T12:00:00Z"},
        {"time": "2027-01-31T12:00:00"}, {"time": None},
    ],
)  # fmt: skip
def test_an_answer_that_has_not_the_feeds_form_ends_the_asking(source: Any, changes: dict[str, Any]) -> None:
    source.says({"symbol": "BTC-USD", "price": "1", "time": "2027-01-31T12:00:00Z", **changes})
    market = AskedMarket("m", "Will it?", ("Yes", "No"), CLOSES)
    with pytest.raises(GiveUp, match="feed"):
        PriceFeed().decide(Asked(source).settings, market, CLOSES)


@pytest.mark.parametrize("body", [b"[]", b"null", b'"BTC-USD"', b"1"])
def test_an_answer_that_is_no_object_ends_the_asking(source: Any, body: bytes) -> None:
    source.sends(body)
    market = AskedMarket("m", "Will it?", ("Yes", "No"), CLOSES)
    with pytest.raises(GiveUp, match="object"):
        PriceFeed().decide(Asked(source).settings, market, CLOSES)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"base_url": "http://a.example/?x="}, "base_url"),
        ({"base_url": "a.example"}, "base_url"),
        ({"symbol": "../admin"}, "symbol"),
        ({"symbol": "A/B"}, "symbol"),
        ({"symbol": "A\n"}, "symbol"),
        ({"comparison": "="}, "comparison"),
        ({"threshold": "many"}, "threshold"),
        ({"at": "tomorrow"}, "at"),
        ({"at": "2027-01-31T12:00:00"}, "at"),
        ({"max_age_s": 0}, "max_age_s"),
        ({"max_age_s": "x"}, "max_age_s"),
        ({"outcome_if_false": "Yes"}, "__all__"),
        ({"outcome_if_false": "Draw"}, "outcome_if_false"),
    ],
)
def test_settings_that_mean_nothing_are_refused(changes: dict[str, Any], field: str) -> None:
    form = PriceFeedForm(("Yes", "No"), {**SETTINGS, "base_url": "https://a.example/feed/", **changes})
    assert not form.is_valid()
    assert list(form.errors) == [field]
