"""Which markets may be asked for. Nothing here needs a database."""

import datetime as dt

import pytest

from tests.markets.conftest import NOW, new_market
from trading.errors import InvalidRequest


def broken_fields(**changes):
    from markets.new_market import checked_market

    with pytest.raises(InvalidRequest) as refusal:
        checked_market(new_market(**changes), now=NOW)
    return set(refusal.value.errors)


def accepted(**changes):
    from markets.new_market import checked_market

    return checked_market(new_market(**changes), now=NOW)


def test_texts_are_trimmed_and_line_ends_made_one():
    market = accepted(question="  Will it rain?  ", description="a\r\nb\rc ", outcomes=(" Yes", "No "))
    assert (market.question, market.description, market.outcomes) == (
        "Will it rain?",
        "a\nb\nc",
        ("Yes", "No"),
    )


@pytest.mark.parametrize(
    "outcomes",
    [
        ("Yes",),
        tuple(str(n) for n in range(51)),
        ("Yes", "yes"),
        ("Yes", " yes "),
        ("Straße", "STRASSE"),
        ("ﬁve", "five"),
        ("a  b", "a b"),
        ("Yes", ""),
        ("Yes", "x" * 101),
        ("Yes", "N\0o"),
        ("Yes", "N\no"),
        ("Yes", "\x1b[31mNo"),
        ("Yes", "volume"),
        ("Open_Interest", "No"),
    ],
)
def test_outcomes_must_be_two_to_fifty_distinct_plain_names(outcomes):
    assert broken_fields(outcomes=outcomes) == {"outcomes"}


def test_fifty_outcomes_of_a_hundred_characters_are_taken():
    names = tuple(f"{n:02d}".ljust(100, "x") for n in range(50))
    assert accepted(outcomes=names).outcomes == names


@pytest.mark.parametrize(
    "question", ["too short", "x" * 501, "Will this\nbe one line?", "Will \0 be refused?"]
)
def test_question_is_one_line_of_ten_to_five_hundred_characters(question):
    assert broken_fields(question=question) == {"question"}


@pytest.mark.parametrize("closes_at", [NOW, NOW - dt.timedelta(1), NOW + dt.timedelta(days=366 * 51)])
def test_closing_is_in_the_future_and_within_fifty_years(closes_at):
    assert broken_fields(closes_at=closes_at) == {"closes_at"}


def test_opening_is_before_closing():
    assert broken_fields(opens_at=NOW + dt.timedelta(days=30)) == {"opens_at"}


@pytest.mark.parametrize("tick_pips", [0, -100, 3, 300, 10_000, 20_000])
def test_tick_must_divide_a_dollar_evenly(tick_pips):
    assert broken_fields(tick_pips=tick_pips) == {"tick"}


@pytest.mark.parametrize("tick_pips", [1, 10, 16, 100, 5_000])
def test_ticks_that_divide_a_dollar_are_taken(tick_pips):
    assert accepted(tick_pips=tick_pips).tick_pips == tick_pips


def test_every_broken_field_is_named_at_once():
    broken = broken_fields(
        question="no", taker_fee_e4=10_001, maker_fee_e4=-1, category="", resolution_criteria=" "
    )
    assert broken == {"question", "taker_fee", "maker_fee", "category", "resolution_criteria"}
