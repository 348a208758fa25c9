"""json_url: a value at a path decides by equality or by comparison, exactly; what it cannot mean is told."""

import datetime as dt
from typing import Any

import pytest

from markets.resolvers.json_url import JsonUrl, JsonUrlForm
from markets.resolvers.plugin import AskedMarket, Decision, NotYet
from trading.jobs import GiveUp

NOW = dt.datetime(2027, 1, 31, 12, tzinfo=dt.UTC)
MARKET = AskedMarket("m", "Will it?", ("Yes", "No", "Draw"), NOW)
BY_VALUE = {
    "url": "https://a.example/",
    "path": "$.result",
    "values": "home => Yes\naway => No\ndraw => Draw",
}
BY_NUMBER = {
    "url": "https://a.example/", "path": "$.price", "comparison": ">=", "threshold": "100000",
    "outcome_if_true": "Yes", "outcome_if_false": "No",
}  # fmt: skip


def form(**given: Any) -> JsonUrlForm:
    return JsonUrlForm(MARKET.outcomes, given)


def asked(source: Any, **given: Any) -> Decision | NotYet:
    """What it answers with these settings, which the form has to take."""
    filled = form(**{**given, "url": source.url})
    assert filled.is_valid(), filled.errors
    return JsonUrl().decide(filled.cleaned_data, MARKET, NOW)


def outcome(answer: Decision | NotYet) -> str:
    assert isinstance(answer, Decision), answer
    return answer.outcome


# By equality --------------------------------------------------------------------------------------


def test_the_value_at_the_path_names_the_outcome(source: Any) -> None:
    source.says({"match": {"rows": [{"final result": "home"}]}})
    answer = asked(source, **{**BY_VALUE, "path": "$.match.rows[0]['final result']"})
    assert isinstance(answer, Decision)
    assert (answer.outcome, answer.evidence.url, answer.evidence.value) == ("Yes", source.url, "home")
    assert answer.because == "$.match.rows[0]['final result'] is home, which means Yes."


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True),
        ("false", False),
        ("3", 3),
        ("1.50", 1.5),
        ("3.0", 3),
        ('"3"', "3"),
        ("3 : 1", "3 : 1"),
        ("é", "é"),
    ],
)
def test_values_are_written_as_json_has_them_or_plainly(source: Any, written: str, value: Any) -> None:
    source.says({"result": value})
    assert outcome(asked(source, **{**BY_VALUE, "values": f"{written} => Draw"})) == "Draw"


@pytest.mark.parametrize(
    ("written", "value"), [("true", 1), ("1", True), ("1", "1"), ('"1"', 1), ("Home", "home")]
)
def test_values_of_another_kind_are_not_equal(source: Any, written: str, value: Any) -> None:
    source.says({"result": value})
    with pytest.raises(GiveUp, match="no meaning"):
        asked(source, **{**BY_VALUE, "values": f"{written} => Draw"})


@pytest.mark.parametrize("document", [{}, [], {"result": None}, {"other": 1}, "text", {"result": "playing"}])
def test_what_is_not_there_or_said_to_come_is_waited_for(source: Any, document: Any) -> None:
    source.says(document)
    assert isinstance(asked(source, **BY_VALUE, not_yet="scheduled\nplaying"), NotYet)


@pytest.mark.parametrize("value", ["abandoned", 7, True, ["home"], {"home": 1}, ""])
def test_what_can_never_be_meant_ends_the_asking_and_says_why(source: Any, value: Any) -> None:
    source.says({"result": value})
    with pytest.raises(GiveUp, match=r"\$\.result"):
        asked(source, **BY_VALUE)


# By comparison ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sign", "below", "equal", "above"),
    [
        (">=", "No", "Yes", "Yes"),
        (">", "No", "No", "Yes"),
        ("<", "Yes", "No", "No"),
        ("<=", "Yes", "Yes", "No"),
    ],
)
def test_a_number_is_compared_as_the_sign_says(
    source: Any, sign: str, below: str, equal: str, above: str
) -> None:
    for text, wanted in ((b"99999.99", below), (b"1e5", equal), (b"100000.01", above)):
        source.sends(b'{"price": ' + text + b"}")
        assert outcome(asked(source, **{**BY_NUMBER, "comparison": sign})) == wanted


@pytest.mark.parametrize("text", [b"0.30000000000000001", b'"0.30000000000000001"'])
def test_numbers_are_exact_where_floats_would_be_equal(source: Any, text: bytes) -> None:
    assert float(text.strip(b'"')) == 0.3
    source.sends(b'{"price": ' + text + b"}")
    assert outcome(asked(source, **{**BY_NUMBER, "comparison": ">", "threshold": "0.3"})) == "Yes"


@pytest.mark.parametrize(
    "text",
    [
        b"true",
        b'"many"',
        b'"NaN"',
        b'"Infinity"',
        b'"1e5"',
        b'"1_000"',
        b'" 1"',
        '"\u0661"'.encode(),
        b"[1]",
        b"{}",
        b"1e99999",
    ],
)
def test_what_is_no_number_ends_the_asking(source: Any, text: bytes) -> None:
    source.sends(b'{"price": ' + text + b"}")
    with pytest.raises(GiveUp):
        asked(source, **BY_NUMBER)


# Settings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"url": "ftp://a.example/"}, "url"),
        ({"url": "https://me:pass@a.example/"}, "url"),
        ({"url": ""}, "url"),
        ({"path": "result"}, "path"),
        ({"path": "$..result"}, "path"),
        ({"path": "$.*"}, "path"),
        ({"path": "$.a[?@.b > 1]"}, "path"),
        ({"path": "$.a[0:2]"}, "path"),
        ({"path": "$[1e5]"}, "path"),
        ({"path": "$[" * 99}, "path"),
        ({"path": "$." + "a" * 300}, "path"),
        ({"values": "home = Yes"}, "values"),
        ({"values": "home => Perhaps"}, "values"),
        ({"values": "1 => Yes\n1.0 => No"}, "values"),
        ({"values": "\n".join(f"{n} => Yes" for n in range(101))}, "values"),
        ({"values": ""}, "__all__"),
        ({"not_yet": "home"}, "__all__"),
        ({"comparison": ">="}, "__all__"),
        ({"threshold": "1e5"}, "threshold"),
        ({"threshold": "NaN"}, "threshold"),
        ({"threshold": "1" * 31}, "threshold"),
        ({"outcome_if_true": "Perhaps"}, "outcome_if_true"),
        ({"comparison": "=="}, "comparison"),
        ({**BY_NUMBER, "values": "", "outcome_if_false": "Yes"}, "__all__"),
        ({**BY_NUMBER, "values": "", "threshold": ""}, "__all__"),
    ],
)
def test_settings_that_mean_nothing_are_refused(changes: dict[str, str], field: str) -> None:
    filled = form(**{**BY_VALUE, **changes})
    assert not filled.is_valid()
    assert list(filled.errors) == [field]


@pytest.mark.parametrize("given", [BY_VALUE, BY_NUMBER])
def test_settings_are_json_and_the_form_takes_back_what_it_gave(given: dict[str, str]) -> None:
    import json

    first = form(**given)
    assert first.is_valid(), first.errors
    again = form(**json.loads(json.dumps(first.cleaned_data)))
    assert again.is_valid(), again.errors
    assert again.cleaned_data == first.cleaned_data
