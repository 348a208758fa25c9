"""What services send, and what they leave behind when the answer is no, or none."""

import pytest
from django.db import connection

from markets import resolutions, services
from markets.models import Market
from markets.services import Actor
from tests.markets.conftest import new_market
from trading.errors import ArchivedEvents, InvalidRequest, OutcomeUnknown, Refused
from trading.ids import new_id

pytestmark = pytest.mark.django_db

ACTOR = Actor(None, "r-1")


@pytest.fixture(autouse=True)
def _early(monkeypatch, settings):
    """The moment that the tests' markets are made for."""
    from tests.markets.conftest import NOW

    monkeypatch.setattr("markets.services.timezone.now", lambda: NOW)


def test_created_market_is_text_here_and_a_command_there(gateway):
    market, change = services.create_market(new_market(tick_pips=10, taker_fee_e4=700), actor=ACTOR)
    (command,) = gateway.commands
    assert (command.market_id, command.question) == (str(market.market_id), market.question)
    assert (command.outcomes, command.tick_pips, command.taker_fee_e4) == (("Yes", "No"), 10, 700)
    assert command.closes_us == 1_796_126_400_000_000
    assert (change.status, change.as_of, gateway.actors) == ("open", "3-41", ["system"])
    assert Market.objects.get().slug == "will-this-question-be-answered"


def test_text_is_taken_back_when_the_engine_refuses(gateway):
    gateway.failure = Refused("not_supported")
    with pytest.raises(Refused):
        services.create_market(new_market(), actor=ACTOR)
    assert not Market.objects.exists()


def test_text_stays_when_the_outcome_is_unknown(gateway):
    gateway.failure = OutcomeUnknown()
    with pytest.raises(OutcomeUnknown):
        services.create_market(new_market(), actor=ACTOR)
    assert Market.objects.count() == 1


def test_broken_market_is_neither_written_nor_sent(gateway):
    with pytest.raises(InvalidRequest):
        services.create_market(new_market(outcomes=("Yes", "YES")), actor=ACTOR)
    assert (gateway.commands, Market.objects.count()) == ([], 0)


def test_same_question_twice_gets_another_slug(gateway):
    first, _ = services.create_market(new_market(), actor=ACTOR)
    second, _ = services.create_market(new_market(), actor=ACTOR)
    assert second.slug == f"{first.slug}-{second.market_id.hex[-8:]}"


@pytest.mark.parametrize(
    ("question", "slug"),
    [
        ("Will it rain?", "will-it-rain"),
        ("Wird Ärger größer?", "wird-arger-groer"),
        ("明日は雨が降りますか、どうですか", ""),
        ("01890a5d-ac96-774b-bcce-b302099a8057", ""),
        ("word " * 40, "word-" * 15 + "word"),
        ("x" * 200, "x" * 80),
    ],
)
def test_slugs_are_plain_cut_at_a_word_and_never_look_like_an_id(question, slug):
    assert services.slug_of(question) == slug


def test_question_without_latin_letters_gets_a_slug_from_its_id(gateway):
    market, _ = services.create_market(new_market(question="明日は雨が降りますか、どうですか"), actor=ACTOR)
    assert market.slug == market.market_id.hex[-8:]


@pytest.mark.parametrize(
    ("choice", "vector"),
    [
        ({"outcome": "B", "payouts": None}, (0, 10_000, 0)),
        ({"outcome": None, "payouts": {"A": 2_500, "C": 7_500}}, (2_500, 0, 7_500)),
        ({"outcome": None, "payouts": {"A": 3_334, "B": 3_333, "C": 3_333}}, (3_334, 3_333, 3_333)),
    ],
)
def test_payouts_are_a_vector_in_the_outcomes_order(choice, vector):
    assert resolutions.payout_vector(["A", "B", "C"], **choice) == vector


@pytest.mark.parametrize(
    "choice",
    [
        {"outcome": None, "payouts": None},
        {"outcome": "A", "payouts": {"A": 10_000}},
        {"outcome": "D", "payouts": None},
        {"outcome": "a", "payouts": None},
        {"outcome": None, "payouts": {}},
        {"outcome": None, "payouts": {"A": 9_999}},
        {"outcome": None, "payouts": {"A": 10_001}},
        {"outcome": None, "payouts": {"A": 11_000, "B": -1_000}},
        {"outcome": None, "payouts": {"D": 10_000}},
    ],
)
def test_payouts_that_are_ambiguous_unknown_or_no_dollar_are_refused(choice):
    with pytest.raises(InvalidRequest):
        resolutions.payout_vector(["A", "B", "C"], **choice)


def test_resolving_at_once_is_not_supported_where_approvals_are_asked_for(listed, gateway, settings):
    settings.RESOLUTION_APPROVALS = 1
    row = listed("Will a second person agree?")
    with pytest.raises(Refused) as refusal:
        resolutions.resolve(row, outcome="Yes", evidence="seen", actor=ACTOR)
    assert (refusal.value.code, gateway.commands) == ("not_supported", [])


def settled(row, **signed):
    """The id of an end of the market that is paid out; who has signed it."""
    resolution_id = new_id()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO settlement (settlement_id, market_id, kind, status, cause_slot, cause_offset, created_at) "
            "VALUES (%s, %s, 'resolve', 'done', 1, 0, now())",
            [resolution_id, row.market_id],
        )
        cursor.execute(
            "INSERT INTO resolution (resolution_id, market_id, payouts, evidence, status, proposed_by, proposed_at, "
            "approvals_needed, approved_by, window_us, updated_at) "
            "VALUES (%s, %s, '{10000,0}', 'Seen.', 'settled', 'user:1', now(), %s, %s, 0, now())",
            [resolution_id, row.market_id, signed["needed"], signed["by"]],
        )
    return resolution_id


def test_an_end_whose_month_is_archived_is_not_undone(listed, gateway):
    row = listed("Will the log still have it?")
    with pytest.raises(ArchivedEvents):
        resolutions.reverse(row.market_id, settled(row, needed=0, by=[]), evidence="Seen anew.", actor=ACTOR)
    assert gateway.commands == []


def test_an_end_from_before_there_were_proposals_is_undone_by_the_present_rule(
    listed, gateway, settings, monkeypatch
):
    monkeypatch.setattr(resolutions, "has_its_cause", lambda resolution_id: True)
    settings.RESOLUTION_APPROVALS = 1
    row = listed("Did it end in another way?")
    resolution_id = settled(row, needed=0, by=[])
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM resolution WHERE resolution_id = %s", [resolution_id])
    resolutions.reverse(row.market_id, resolution_id, evidence="Seen anew.", actor=ACTOR)
    assert [command.approvals for command in gateway.commands] == [1]


@pytest.mark.parametrize(
    ("needed", "by"), [(0, []), (0, ["user:2"]), (1, ["user:2"]), (1, ["user:2", "user:3"])]
)
def test_an_end_is_undone_by_as_many_as_brought_it_about(listed, gateway, monkeypatch, needed, by):
    monkeypatch.setattr(resolutions, "has_its_cause", lambda resolution_id: True)
    row = listed("Will it take as many?")
    resolutions.reverse(row.market_id, settled(row, needed=needed, by=by), evidence="Seen anew.", actor=ACTOR)
    assert [command.approvals for command in gateway.commands] == [len(by)]


def test_resolution_needs_evidence(listed, gateway):
    row = listed("Will evidence be asked for?")
    for end in (
        lambda: resolutions.resolve(row, outcome="Yes", evidence=" ", actor=ACTOR),
        lambda: resolutions.void(row, evidence="", actor=ACTOR),
    ):
        with pytest.raises(InvalidRequest):
            end()
    assert gateway.commands == []
