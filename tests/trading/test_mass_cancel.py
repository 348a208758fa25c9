"""The answer to a cancel-all of several markets: a sum, or what is known of each."""

import pytest

from trading import mass_cancel
from trading.errors import OutcomeUnknown, Overloaded
from trading.ids import new_id
from trading.market_terms import MarketTerms
from trading.orders import Caller, Prepared
from trading.principal import TRADE, Principal
from trading.wire import Outcome

CALLER = Caller(Principal(new_id(), 1, "k", frozenset({TRADE}), is_staff=False), "r")


def cancel_in(*kinds: str | None) -> tuple[list[Prepared], list[Outcome | None]]:
    """A cancel-all of one market for each kind of outcome; None where there is none. Each that counts counts 2."""
    terms = [MarketTerms(new_id(), ("Yes", "No"), 100, 0, 0, 2**60) for _ in kinds]
    sent = [Prepared(mass_cancel.cancel_all(CALLER, each, outcome=None, side=None), each) for each in terms]
    return sent, [
        None if kind is None else Outcome(envelope.command_id, kind, slot, 7, 2)
        for slot, ((envelope, _), kind) in enumerate(zip(sent, kinds, strict=True))
    ]


def test_sum_of_all_markets() -> None:
    answer = mass_cancel.total_cancelled(*cancel_in("count", "count"))
    assert answer == (200, {"cancelled": 4, "as_of": "0-7.1-7"})
    assert mass_cancel.total_cancelled([], []) == (200, {"cancelled": 0, "as_of": ""})


@pytest.mark.parametrize("kind", ["failed", "missing", "repeat", None])
def test_market_that_failed_among_others_is_named_and_theirs_are_told(kind: str | None) -> None:
    sent, outcomes = cancel_in("count", kind, "count")
    if kind == "repeat":
        outcomes[1] = Outcome(sent[1].envelope.command_id, "repeat", 1, 7, [None, None, True, None])
    with pytest.raises(OutcomeUnknown) as raised:
        mass_cancel.total_cancelled(sent, outcomes)
    assert "4 orders are cancelled" in raised.value.detail
    assert raised.value.errors is not None
    assert raised.value.errors.keys() == {sent[1].terms.market_id}


def test_cancel_that_had_no_effect_anywhere_says_so() -> None:
    with pytest.raises(Overloaded, match="had no effect"):
        mass_cancel.total_cancelled(*cancel_in("failed", "failed"))


def test_cancel_that_may_have_had_an_effect_somewhere_is_in_doubt() -> None:
    sent, outcomes = cancel_in("failed", None)
    with pytest.raises(OutcomeUnknown) as raised:
        mass_cancel.total_cancelled(sent, outcomes)
    assert raised.value.errors is not None
    assert raised.value.errors.keys() == {prepared.terms.market_id for prepared in sent}
