"""How answers about markets are kept: for a moment, dropped with the next change, renewed before they end."""

import asyncio
from types import SimpleNamespace

import pytest

from trading.live import market_reads as module
from trading.live.market_reads import AHEAD_S, KEEP_S, Held, MarketReads
from trading.read_cache import answer_of


class Stand:
    """Reads of one market over a clock that only moves when told to; each answer says how many came before it."""

    def __init__(self, monkeypatch, settings):
        settings.READ_CACHE = True
        self.now = 100.0
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now))
        self.feed = SimpleNamespace(answers={}, flights={}, loaded=None, changes=0, is_current=True)
        self.worked_out = 0
        self.gate: asyncio.Event | None = None
        self.failure: Exception | None = None
        terms = SimpleNamespace(market_id="m", outcomes=("Yes", "No"))

        async def find(reference):
            return terms

        self.reads = MarketReads(
            hub=SimpleNamespace(feed=lambda *_: self.feed), desk=SimpleNamespace(terms=find), catalogue=None
        )
        self.reads._kinds["market"] = self._work

    async def _work(self, feed, terms, given):
        number = self.worked_out = self.worked_out + 1
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        until = self.now + KEEP_S
        return Held(until, answer_of("", b"%d" % number), until - AHEAD_S)

    async def read(self, **given: str) -> bytes:
        return (await self.reads.read("market", "m", given)).body


@pytest.fixture
def stand(monkeypatch, settings):
    return Stand(monkeypatch, settings)


async def turn():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_an_answer_counts_until_its_time_is_over_or_the_market_changes(stand):
    assert [await stand.read(), await stand.read()] == [b"1", b"1"]
    stand.feed.answers.clear()
    assert await stand.read() == b"2"
    stand.now += KEEP_S
    assert await stand.read() == b"3"


async def test_what_is_still_asked_for_is_renewed_once_while_all_get_the_old_one(stand):
    await stand.read()
    stand.now += KEEP_S - AHEAD_S
    stand.gate = asyncio.Event()
    assert [await stand.read() for _ in range(3)] == [b"1"] * 3
    await turn()
    assert [await stand.read() for _ in range(3)] == [b"1"] * 3
    assert stand.worked_out == 2
    stand.gate.set()
    await turn()
    assert await stand.read() == b"2"
    stand.now += KEEP_S - AHEAD_S - 0.01
    assert await stand.read() == b"2"
    assert stand.worked_out == 2


async def test_a_renewal_that_fails_is_told_only_to_who_asks_after_the_old_answers_end(stand):
    await stand.read()
    stand.now += KEEP_S - AHEAD_S
    stand.failure = RuntimeError("the database is away")
    assert await stand.read() == b"1"
    await turn()
    assert await stand.read() == b"1"
    await turn()
    stand.now += AHEAD_S
    with pytest.raises(RuntimeError, match="the database is away"):
        await stand.read()


async def test_many_who_ask_at_once_cost_one_answer_and_a_change_meanwhile_is_not_covered_up(stand):
    stand.gate = asyncio.Event()
    asking = [asyncio.ensure_future(stand.read()) for _ in range(20)]
    await turn()
    stand.feed.changes += 1
    stand.gate.set()
    assert await asyncio.gather(*asking) == [b"1"] * 20
    assert await stand.read() == b"2"


async def test_who_wants_what_is_fresh_gets_nothing_that_was_asked_for_before_him(stand):
    stand.gate = asyncio.Event()
    asking = [asyncio.ensure_future(stand.read(require_fresh="true")) for _ in range(2)]
    await turn()
    asking.append(asyncio.ensure_future(stand.read(require_fresh="true")))
    await turn()
    stand.gate.set()
    assert await asyncio.gather(*asking) == [b"1", b"2", b"3"]
    assert stand.feed.answers == {}
