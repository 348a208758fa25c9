"""How figures read on the pages."""

import datetime as dt

import pytest

from markets import figures


@pytest.mark.parametrize(
    ("pips", "text"),
    [(6_500, "65¢"), (6_550, "65.5¢"), (6_525, "65.25¢"), (1, "0.01¢"), (None, "\N{EN DASH}")],
)
def test_prices_are_in_cents_without_idle_zeros(pips, text):
    assert figures.price_text(pips) == text


@pytest.mark.parametrize(
    ("pips", "text"),
    [
        (12_345_600, "$1,234.56"),
        (12_345_601, "$1,234.5601"),
        (-5_000, "−$0.50"),
        (0, "$0.00"),
        (None, "\N{EN DASH}"),
    ],
)
def test_money_has_two_places_or_four_where_two_would_hide_something(pips, text):
    assert figures.money_text(pips) == text


def test_changes_have_a_sign_and_are_nothing_where_they_are_unknown():
    assert [figures.change_text(pips) for pips in (250, -100, 0, None)] == ["+2.5¢", "−1¢", "0¢", ""]


@pytest.mark.parametrize(
    ("dollars", "text"),
    [(0, "$0"), (999, "$999"), (1_500, "$1.5K"), (1_239_999, "$1.23M"), (250_000, "$250K")],
)
def test_volumes_are_cut_off_not_rounded_up(dollars, text):
    assert figures.compact_money_text(dollars * 10_000) == text


@pytest.mark.parametrize(
    ("pips", "text"),
    [
        (6_250, "63%"),
        (0, "0%"),
        (10_000, "100%"),
        (99, "<1%"),
        (9_901, ">99%"),
        (100, "1%"),
        (None, "\N{EN DASH}"),
    ],
)
def test_only_the_impossible_reads_zero_and_only_the_certain_a_hundred(pips, text):
    assert figures.chance_text(pips) == text


@pytest.mark.parametrize(
    ("prices", "chance"),
    [
        ({"last": 5_000, "bid": 4_000, "ask": 6_000}, 5_000),
        ({"last": 5_000, "bid": 5_500, "ask": 6_000}, 5_500),
        ({"last": 5_000, "bid": 3_000, "ask": 4_000}, 4_000),
        ({"last": 5_000, "bid": None, "ask": None}, 5_000),
        ({"last": None, "bid": 4_000, "ask": 5_001}, 4_500),
        ({"last": None, "bid": 4_000, "ask": None}, None),
    ],
)
def test_chance_is_the_last_price_held_within_bid_and_ask(prices, chance):
    assert figures.chance_pips(**prices) == chance


def test_distances_are_told_in_the_largest_fitting_unit():
    now = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
    told = [
        figures.distance_text(now + dt.timedelta(seconds=s), now)
        for s in (30, 90, 7_200, 90_000, 200_000, -90, 0.3)
    ]
    assert told == [
        "in less than a minute", "in 1 min", "in 2 h", "in 25 h", "in 2 days", "1 min ago", "less than a minute ago",
    ]  # fmt: skip
