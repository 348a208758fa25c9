"""A resolver is asked once its market has closed, and what it answers becomes one proposal, whatever runs twice.

The engine that judges is the real one, and so are the projections and the server that is asked.
"""

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django import forms
from django.db import connection

from markets.resolvers.plugin import AskedMarket, Decision, Evidence, NotYet, Resolver, SettingsForm
from tests.trading.projections.emptied import empty_exchange
from tests.trading.projections.written_log import START_US, WrittenMarket
from trading.engine import commands as cmd
from trading.engine import events as ev
from trading.engine.decide import decide as engine_decides
from trading.errors import InvalidRequest, NotFound, OutcomeUnknown, Refused
from trading.ids import new_id
from trading.outside.alone import alone_at

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = dt.timedelta(hours=1)
BY_VALUE = {"path": "$.result", "values": "home => Yes\naway => No"}


class EngineAtHand:
    """A gateway whose engine decides at once; `loses` answers are carried out and never heard of."""

    def __init__(self, market: WrittenMarket, follow: Callable[[], None]) -> None:
        self.market, self.follow, self.loses, self.commands = market, follow, 0, []

    def submit(self, command: Any, *, actor: str, request_id: str | None) -> Any:
        from trading.wire import Outcome

        self.commands.append((actor, command))
        first = next(iter(engine_decides(self.market.state, command, budget_pips=0, now_us=START_US)))
        if isinstance(first, ev.CommandRefused):
            raise Refused(first.reason)
        self.market.do(command)
        if self.loses:
            self.loses -= 1
            raise OutcomeUnknown()
        self.follow()
        return Outcome("c", "market", 0, 0, self.market.state.status)


@pytest.fixture(autouse=True)
def _empty(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    empty_exchange()
    monkeypatch.setattr("trading.projections.markets.hint", lambda jobs: None)
    yield
    empty_exchange()


@pytest.fixture
def follow(_empty: None) -> Iterator[Callable[[], None]]:
    from trading.projections.projection import load_projections
    from trading.projections.runner import Projector

    projector = Projector([each for each in load_projections() if each.name != "notifications"])

    def run() -> None:
        while projector.round():
            pass

    yield run
    projector.close()


@pytest.fixture
def engine(follow: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> EngineAtHand:
    """The engine of one open market, whose words are written too."""
    from markets.models import Market

    market = WrittenMarket()
    Market.objects.create(
        market_id=market.market_id, slug="will-it", question="Will it?", category="tests", outcomes=["Yes", "No"],
        resolution_criteria="As it says.",
    )  # fmt: skip
    follow()
    at_hand = EngineAtHand(market, follow)
    monkeypatch.setattr("markets.services.gateway_sync", lambda: at_hand)
    return at_hand


def listing(engine: EngineAtHand) -> Any:
    from markets import selectors

    return selectors.find(engine.market.market_id)


def close(engine: EngineAtHand) -> None:
    engine.market.do(cmd.CloseMarket(engine.market.market_id))
    engine.follow()


@pytest.fixture
def asked(engine: EngineAtHand, source: Any) -> EngineAtHand:
    """The market has closed, and its resolver json_url is about to be asked."""
    from markets.resolvers import asking

    asking.configure(listing(engine), "json_url", {**BY_VALUE, "url": source.url})
    close(engine)
    assert asking.start() == 1
    return engine


def run_jobs(later: dt.timedelta = dt.timedelta()) -> list[str]:
    """Run every asking that is due by then; what became of each."""
    from trading.jobs.run import database_clock, run

    now = database_clock() + later
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id::text FROM job WHERE name = 'markets.ask_resolver' AND due_at <= %s ORDER BY due_at",
            [now],
        )
        due = [job_id for (job_id,) in cursor.fetchall()]
    return [run(job_id, clock=lambda: now) for job_id in due]


def ask_again(engine: EngineAtHand) -> None:
    """The job once more, as after a worker that died when all but the deletion was done."""
    from markets.models import MarketResolver
    from markets.resolvers import asking

    row = MarketResolver.objects.get()
    asking.ask({"market": str(row.market_id), "revision": str(row.revision)})


def proposals() -> list[tuple[str, str, list[int]]]:
    from trading.models import Resolution

    return [(each.proposed_by, each.status, each.payouts) for each in Resolution.objects.all()]


def answer_shown() -> str:
    from markets.models import MarketResolver

    return MarketResolver.objects.get().answer


def letter() -> Any:
    from trading.models import DeadLetter

    return DeadLetter.objects.get()


# When it is asked ---------------------------------------------------------------------------------


def test_nobody_is_asked_before_the_market_has_closed_and_then_once(
    engine: EngineAtHand, source: Any
) -> None:
    from markets.resolvers import asking

    source.says({"result": "home"})
    asking.configure(listing(engine), "json_url", {**BY_VALUE, "url": source.url})
    assert (asking.start(), run_jobs(), source.server.asked) == (0, [], [])
    close(engine)
    assert (asking.start(), asking.start()) == (1, 0)
    assert run_jobs() == ["done"]
    assert (asking.start(), run_jobs(HOUR)) == (0, [])
    assert len(source.server.asked) == 1


def test_other_settings_mean_another_question_and_the_older_one_comes_to_nothing(
    asked: EngineAtHand, source: Any
) -> None:
    from markets.resolvers import asking

    source.says({"result": "home", "other": "home"})
    asking.configure(
        listing(asked), "json_url", {**BY_VALUE, "path": "$.other", "values": "home => No", "url": source.url}
    )
    assert (run_jobs(), source.server.asked, proposals()) == (["done"], [], [])
    assert (asking.start(), run_jobs()) == (1, ["done"])
    assert proposals() == [("system", "settled", [0, 10_000])]


def test_a_resolver_that_was_taken_away_is_not_asked(asked: EngineAtHand, source: Any) -> None:
    from markets.resolvers import asking

    assert asking.remove(asked.market.market_id)
    assert not asking.remove(asked.market.market_id)
    assert run_jobs() == ["done"]
    assert source.server.asked == []


def test_settings_that_will_not_do_change_nothing(asked: EngineAtHand) -> None:
    from markets.models import MarketResolver
    from markets.resolvers import asking

    before = MarketResolver.objects.values().get()
    with pytest.raises(InvalidRequest) as refused:
        asking.configure(listing(asked), "json_url", {**BY_VALUE, "url": "ftp://a.example"})
    assert list(refused.value.errors or {}) == ["url"]
    with pytest.raises(NotFound):
        asking.configure(listing(asked), "oracle", {})
    assert MarketResolver.objects.values().get() == before


def test_while_another_resolver_is_asked_it_waits_and_forgets_nothing(
    asked: EngineAtHand, source: Any
) -> None:
    from markets.models import MarketResolver

    MarketResolver.objects.update(kept={"seen": 1}, answer="Not yet: seen once")
    source.says({"result": "home"})
    with alone_at("resolvers", busy_s=60):
        assert run_jobs() == ["postponed"]
    assert source.server.asked == []
    assert (MarketResolver.objects.get().kept, answer_shown()) == ({"seen": 1}, "Not yet: seen once")
    assert run_jobs(HOUR) == ["done"]


# What becomes of its answer -----------------------------------------------------------------------


def test_with_no_approvals_and_no_window_the_answer_settles_the_market_at_once(
    asked: EngineAtHand, source: Any
) -> None:
    source.says({"result": "away"})
    assert run_jobs() == ["done"]
    assert listing(asked).status == "resolved"
    assert proposals() == [("system", "settled", [0, 10_000])]


def test_evidence_names_the_url_the_value_the_time_the_hash_and_the_bodys_beginning(
    asked: EngineAtHand, source: Any
) -> None:
    import hashlib

    from trading.models import Resolution

    body = b'{"result": "home", "by": "\\u202e<b>\\u0007' + b"x" * 3_000 + b'"}'
    source.sends(body)
    before = dt.datetime.now(dt.UTC)
    assert run_jobs() == ["done"]
    evidence = Resolution.objects.get().evidence
    assert evidence.startswith("The resolver json_url says Yes. $.result is home, which means Yes.\n")
    for part in (
        f"URL: {source.url}\n",
        "Value: home\n",
        f"SHA-256 of the body: {hashlib.sha256(body).hexdigest()}\n",
        f"The first 1024 of its {len(body)} bytes:\n" + '{"result": "home", "by": "',
    ):
        assert part in evidence
    assert evidence.count("x") < 1_024
    read_at = evidence.partition("Read at: ")[2].partition("\n")[0]
    assert before - dt.timedelta(seconds=1) <= dt.datetime.fromisoformat(read_at) <= dt.datetime.now(dt.UTC)


def test_control_characters_of_a_value_and_a_body_are_replaced_in_evidence(
    engine: EngineAtHand, source: Any
) -> None:
    from markets.resolvers import asking
    from trading.models import Resolution

    asking.configure(
        listing(engine), "json_url", {**BY_VALUE, "values": '"a\\u0007\\u202eb" => Yes', "url": source.url}
    )
    close(engine)
    asking.start()
    source.sends(b'{"result": "a\\u0007\\u202eb", "raw": "\xe2\x80\xae"}')
    assert run_jobs() == ["done"]
    evidence = Resolution.objects.get().evidence
    assert "$.result is a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}b," in evidence
    assert "\u202e" not in evidence


def test_any_one_of_staff_may_approve_it_and_the_system_never_does(
    asked: EngineAtHand, source: Any, settings: Any
) -> None:
    from accounts.models import User
    from markets import resolutions
    from markets.services import Actor
    from trading.errors import PermissionDenied
    from trading.models import Resolution

    settings.RESOLUTION_APPROVALS = 1
    source.says({"result": "home"})
    assert run_jobs() == ["done"]
    assert proposals() == [("system", "proposed", [10_000, 0])]
    resolution_id = str(Resolution.objects.get().resolution_id)
    with pytest.raises(PermissionDenied):
        resolutions.approve(asked.market.market_id, resolution_id, actor=Actor(None))
    clerk = User.objects.create_user("clerk", "", "correct-horse-battery", is_staff=True)
    resolutions.approve(asked.market.market_id, resolution_id, actor=Actor(clerk.pk))
    assert proposals() == [("system", "settled", [10_000, 0])]


def test_whoever_gave_the_settings_is_no_second_person(
    engine: EngineAtHand, source: Any, settings: Any
) -> None:
    from accounts.models import User
    from markets import resolutions
    from markets.resolvers import asking
    from markets.services import Actor
    from trading.errors import PermissionDenied
    from trading.models import Resolution

    settings.RESOLUTION_APPROVALS = 1
    ann, bea = (
        User.objects.create_user(name, "", "correct-horse-battery", is_staff=True) for name in ("ann", "bea")
    )
    asking.configure(listing(engine), "json_url", {**BY_VALUE, "url": source.url}, by=ann.pk)
    close(engine)
    asking.start()
    source.says({"result": "home"})
    # One whose answer is lost is sent again, on behalf of the same person.
    engine.loses = 1
    assert run_jobs() == ["postponed"]
    engine.follow()
    assert run_jobs(HOUR) == ["done"]
    assert proposals() == [("system", "proposed", [10_000, 0])]
    resolution_id = str(Resolution.objects.get().resolution_id)
    with pytest.raises(PermissionDenied):
        resolutions.approve(engine.market.market_id, resolution_id, actor=Actor(ann.pk))
    assert proposals() == [("system", "proposed", [10_000, 0])]
    resolutions.approve(engine.market.market_id, resolution_id, actor=Actor(bea.pk))
    assert proposals() == [("system", "settled", [10_000, 0])]


# Exactly one proposal -----------------------------------------------------------------------------


@pytest.mark.parametrize(("approvals", "status"), [(1, "proposed"), (0, "settled")])
def test_a_job_that_runs_twice_proposes_once(
    asked: EngineAtHand, source: Any, settings: Any, approvals: int, status: str
) -> None:
    settings.RESOLUTION_APPROVALS = approvals
    source.says({"result": "home"})
    assert run_jobs() == ["done"]
    ask_again(asked)
    assert proposals() == [("system", status, [10_000, 0])]
    assert len(asked.commands) == 1


def test_a_proposal_whose_answer_was_lost_is_not_made_again(
    asked: EngineAtHand, source: Any, settings: Any
) -> None:
    settings.RESOLUTION_APPROVALS = 1
    asked.loses = 1
    source.says({"result": "home"})
    assert run_jobs() == ["postponed"]
    asked.follow()
    assert run_jobs(HOUR) == ["done"]
    assert proposals() == [("system", "proposed", [10_000, 0])]
    assert len(asked.commands) == 1


def test_sent_twice_it_is_the_same_proposal_which_the_engine_refuses(
    asked: EngineAtHand, source: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both runs have looked before either was carried out."""
    from markets.resolvers import asking

    settings.RESOLUTION_APPROVALS = 1
    source.says({"result": "home"})
    before = listing(asked)
    monkeypatch.setattr(asking, "_undecided", lambda row: before)
    ask_again(asked)
    ask_again(asked)
    first, second = (command.resolution_id for _, command in asked.commands)
    assert first == second
    assert proposals() == [("system", "proposed", [10_000, 0])]


def test_what_staff_has_proposed_meanwhile_is_not_replaced(
    asked: EngineAtHand, source: Any, settings: Any
) -> None:
    settings.RESOLUTION_APPROVALS = 1

    def propose_and_answer(request: Any) -> None:
        # While the resolver waits for this answer, somebody is faster.
        asked.market.do(
            cmd.ProposeResolution(asked.market.market_id, new_id(), (0, 10_000), "Seen.", "user:7", 1, 0)
        )
        asked.follow()
        source.says({"result": "home"})
        source.server.answer(request)

    source.server.answer = propose_and_answer
    assert run_jobs() == ["done"]
    assert proposals() == [("user:7", "proposed", [0, 10_000])]
    assert "proposed" in answer_shown()


def test_a_proposal_that_was_withdrawn_is_not_made_again(
    asked: EngineAtHand, source: Any, settings: Any
) -> None:
    from markets import resolutions
    from markets.resolvers import asking
    from markets.services import Actor
    from trading.models import Resolution

    settings.RESOLUTION_APPROVALS = 1
    source.says({"result": "home"})
    run_jobs()
    resolution_id = str(Resolution.objects.get().resolution_id)
    resolutions.withdraw(asked.market.market_id, resolution_id, reason="It is wrong.", actor=Actor(None))
    ask_again(asked)
    assert asking.start() == 0
    assert [status for _, status, _ in proposals()] == ["withdrawn"]
    # A second one of that id would be taken by the engine, and the table has its id already.
    assert [type(command) for _, command in asked.commands] == [cmd.ProposeResolution, cmd.WithdrawResolution]


def test_while_the_read_models_are_behind_it_waits(
    asked: EngineAtHand, source: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("markets.resolvers.asking.CATCH_UP_S", 0.0)
    source.says({"result": "home"})
    asked.market.do(
        cmd.ProposeResolution(asked.market.market_id, new_id(), (0, 10_000), "Seen.", "user:7", 1, 0)
    )
    assert run_jobs() == ["postponed"]
    assert source.server.asked == []
    asked.follow()
    assert run_jobs(HOUR) == ["done"]
    assert [by for by, _, _ in proposals()] == ["user:7"]


# No answer ----------------------------------------------------------------------------------------


def test_it_is_asked_until_there_is_an_answer_and_waiting_is_no_try(asked: EngineAtHand, source: Any) -> None:
    for number in range(20):
        source.says({"result": None})
        assert run_jobs(number * dt.timedelta(minutes=2)) == ["postponed"]
    assert answer_shown() == "Not yet: there is null at $.result"
    source.says({"result": "home"})
    assert run_jobs(HOUR) == ["done"]
    assert proposals() == [("system", "settled", [10_000, 0])]


def test_what_can_never_be_meant_is_a_dead_letter_at_once_that_says_why(
    asked: EngineAtHand, source: Any
) -> None:
    source.says({"result": "abandoned"})
    assert run_jobs() == ["dead"]
    assert "$.result is text 'abandoned', which has no meaning in the settings" in letter().error
    assert "no meaning" in answer_shown()
    assert proposals() == []
    assert listing(asked).status == "closed"


def test_a_broken_document_is_tried_again_by_the_rules_of_jobs_and_may_mend(
    asked: EngineAtHand, source: Any
) -> None:
    source.sends(b"<html>", kind="text/html")
    assert run_jobs() == ["retry"]
    source.says({"result": "home"})
    assert run_jobs(HOUR) == ["done"]
    assert proposals() == [("system", "settled", [10_000, 0])]


def test_a_document_that_stays_broken_is_a_dead_letter_that_says_why(
    asked: EngineAtHand, source: Any
) -> None:
    source.sends(b'{"result": "home", "result": "away"}')
    ends = [run_jobs(number * HOUR)[0] for number in range(6)]
    assert ends == ["retry"] * 5 + ["dead"]
    assert "stands twice" in letter().error


def test_who_never_has_an_answer_is_given_up_when_the_market_is_escalated(
    asked: EngineAtHand, source: Any
) -> None:
    source.says({})
    assert run_jobs(71 * HOUR) == ["postponed"]
    assert run_jobs(73 * HOUR) == ["dead"]
    assert "there is nothing at $.result" in letter().error


def test_a_resolver_that_is_not_there_any_more_is_a_dead_letter(asked: EngineAtHand, settings: Any) -> None:
    settings.RESOLVERS = ["markets.resolvers.price_feed.PriceFeed"]
    assert run_jobs() == ["dead"]
    assert "no resolver json_url" in letter().error


def test_settings_that_do_not_hold_any_more_are_a_dead_letter(asked: EngineAtHand) -> None:
    from markets.models import MarketResolver

    MarketResolver.objects.update(settings={"url": "http://a.example/"})
    assert run_jobs() == ["dead"]
    assert "settings are not valid" in letter().error


def test_staff_is_told_that_a_market_is_due_once_its_resolver_is_not_asked_any_more(
    engine: EngineAtHand, source: Any
) -> None:
    from markets import reminders
    from markets.resolvers import asking

    with connection.cursor() as cursor:
        cursor.execute("UPDATE market SET closes_at = now()")
    asking.configure(listing(engine), "json_url", {**BY_VALUE, "url": source.url})
    close(engine)
    assert reminders.remind() == 0
    asking.start()
    source.says({})
    assert (run_jobs(), reminders.remind()) == (["postponed"], 0)
    source.says({"result": "abandoned"})
    assert (run_jobs(HOUR), reminders.remind()) == (["dead"], 1)


def test_staff_is_told_that_a_market_is_overdue_whoever_is_asked(
    asked: EngineAtHand, source: Any, settings: Any
) -> None:
    from markets import reminders

    with connection.cursor() as cursor:
        cursor.execute("UPDATE market SET closes_at = now() - interval '25 hours'")
    assert reminders.remind() == 1


# Plug-ins -----------------------------------------------------------------------------------------


class CoinForm(SettingsForm):
    side = forms.CharField()


class Coin(Resolver):
    name = "coin"
    title = "A coin that is thrown twice"
    form = CoinForm

    def decide(self, settings: Any, market: AskedMarket, now: dt.datetime) -> Decision | NotYet:
        if not market.kept:
            return NotYet("thrown once", retry_in_s=5, kept={"thrown": 1})
        evidence = Evidence("coin:", settings["side"], now, b"")
        return Decision(settings["side"], f"Thrown {market.kept['thrown'] + 1} times.", evidence)


@pytest.fixture
def coin(settings: Any) -> None:
    settings.RESOLVERS = [f"{__name__}.Coin"]


def test_a_plug_in_that_the_setting_names_decides_and_keeps_what_it_wants_between(
    engine: EngineAtHand, coin: None
) -> None:
    from markets.resolvers import asking

    asking.configure(listing(engine), "coin", {"side": "No"})
    close(engine)
    asking.start()
    assert run_jobs() == ["postponed"]
    assert run_jobs(dt.timedelta(seconds=4)) == []
    assert run_jobs(dt.timedelta(seconds=6)) == ["done"]
    assert proposals() == [("system", "settled", [0, 10_000])]


def test_a_plug_in_that_decides_for_no_outcome_is_a_dead_letter(engine: EngineAtHand, coin: None) -> None:
    from markets.resolvers import asking

    asking.configure(listing(engine), "coin", {"side": "Edge"})
    close(engine)
    asking.start()
    assert [*run_jobs(), *run_jobs(HOUR)] == ["postponed", "dead"]
    assert "'Edge', which is no outcome" in letter().error


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        (["markets.resolvers.nowhere.Oracle"], "cannot be imported"),
        (["markets.resolvers.json_url.JsonUrlForm"], "no Resolver"),
        (["markets.resolvers.json_url.MAX_PATH"], "no Resolver"),
        (["markets.resolvers.json_url.JsonUrl"] * 2, "two resolvers"),
    ],
)
def test_a_setting_that_names_no_resolver_is_told(settings: Any, paths: list[str], said: str) -> None:
    from django.core.exceptions import ImproperlyConfigured

    from markets.resolvers.registry import resolvers

    settings.RESOLVERS = paths
    with pytest.raises(ImproperlyConfigured, match=said):
        resolvers()
