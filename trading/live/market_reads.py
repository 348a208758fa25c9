"""Market data in the fast lane: a market, its book and its trades, answered from memory while nothing has changed.

The hub follows the feed anyway. An answer is kept with its market's feed and dropped with the market's next update, so
that it is never older than what sockets are told; what a read model has part in counts for a second at most. Whatever
is not known here (a past moment, a certain freshness, all while Valkey is away) is read as the other lane reads it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol

from django.conf import settings

from trading import market_documents as documents
from trading import metrics
from trading.as_of import covers, token_of
from trading.checksum import outcome_checksum
from trading.ids import market_slot
from trading.live.blocking import in_thread
from trading.live.book_mirror import FeedTicker
from trading.live.desk import Desk
from trading.live.feed_frames import json_bytes
from trading.live.hub import Hub
from trading.live.market_feed import MarketFeed
from trading.market_terms import MarketTerms
from trading.read_cache import Answer, answer_of
from trading.read_query import FRESHNESS_NAMES, ReadQuery
from trading.replicas import on_replica

KEEP_S = 1.0
# An answer that is still asked for so long before its end is worked out anew, while all get the old one.
AHEAD_S = 0.5
# A read model that is not as far as the feed is asked again after that.
KEEP_BEHIND_S = 0.02
MOST_ANSWERS = 100  # of one market; each differs in its parameters
MOST_KEPT_BYTES = 32_768
FOR_EVER = float("inf")

Document = Mapping[str, Any]


class Catalogue(Protocol):
    """What the catalogue knows of a market, as the composition root plugs it in."""

    def load(self, market_id: str) -> Any:
        """All that the read models have. Blocks. Raises NotFound."""

    def document(self, loaded: Any, *, seq: int, ticker: FeedTicker | None) -> Document:
        """The market with the figures of now, or with those of the read models where there is no ticker."""


class Held(NamedTuple):
    """An answer, until when it counts, and from when on it is better renewed (monotonic)."""

    until: float
    answer: Answer
    renew_at: float = FOR_EVER


class MarketReads:
    """Answers over a hub. Each may raise what ReadQuery and the read models raise."""

    def __init__(self, *, hub: Hub, desk: Desk, catalogue: Catalogue) -> None:
        self._hub = hub
        self._desk = desk
        self._catalogue = catalogue
        self._renewals: set[asyncio.Future[Answer]] = set()
        self._kinds: dict[str, Callable[[MarketFeed, MarketTerms, Mapping[str, str]], Awaitable[Held]]] = {
            "market": self._market,
            "orderbook": self._book,
            "trades": self._trades,
        }

    async def read(self, kind: str, reference: str, given: Mapping[str, str]) -> Answer:
        """`market`, `orderbook` or `trades` of a market by id or slug."""
        terms = await self._desk.terms(reference)
        feed = self._hub.feed(terms.market_id, terms.outcomes)
        key = (kind, tuple(given.items())) if given else (kind, ())
        # Who wants what is fresh gets what is read after he has asked, not what another has asked for before.
        if not settings.READ_CACHE or "require_fresh" in given:
            return (await self._kinds[kind](feed, terms, given)).answer
        held = feed.answers.get(key)
        now = time.monotonic()

        def work() -> Awaitable[Held]:
            return self._kinds[kind](feed, terms, given)

        if held is None or now >= held.until:
            return await self._work_out(feed, key, work)
        if now >= held.renew_at and key not in feed.flights:
            self._renew(feed, key, work)
        metrics.CACHE_READS.labels(kind, "l1").inc()
        return held.answer

    def _renew(self, feed: MarketFeed, key: tuple[Any, ...], work: Callable[[], Awaitable[Held]]) -> None:
        """In the background. Where that fails, whoever asks after the old answer's end finds out why."""
        renewal = asyncio.ensure_future(self._work_out(feed, key, work))
        self._renewals.add(renewal)

        def ended(renewal: "asyncio.Future[Answer]") -> None:
            self._renewals.discard(renewal)
            if not renewal.cancelled():
                renewal.exception()

        renewal.add_done_callback(ended)

    async def _work_out(
        self, feed: MarketFeed, key: tuple[Any, ...], work: Callable[[], Awaitable[Held]]
    ) -> Answer:
        """Once for all who ask meanwhile; kept unless the market has changed by then."""
        under_way = feed.flights.get(key)
        if under_way is not None:
            metrics.CACHE_READS.labels(key[0], "shared").inc()
            return (await asyncio.shield(under_way)).answer
        metrics.CACHE_READS.labels(key[0], "worked_out").inc()
        feed.flights[key] = task = asyncio.ensure_future(work())
        changes = feed.changes
        try:
            held = await asyncio.shield(task)
        finally:
            del feed.flights[key]
        if feed.changes == changes and feed.is_current and held.until:
            self._keep(feed, key, held)
        return held.answer

    @staticmethod
    def _keep(feed: MarketFeed, key: tuple[Any, ...], held: Held) -> None:
        if key[1] and len(held.answer.body) > MOST_KEPT_BYTES:
            return  # What hardly anybody else asks for in the same words.
        if len(feed.answers) >= MOST_ANSWERS:
            feed.answers.clear()
        feed.answers[key] = held

    # Kinds --------------------------------------------------------------------------------------

    async def _market(self, feed: MarketFeed, terms: MarketTerms, given: Mapping[str, str]) -> Held:
        is_plain = not given
        if (
            not (is_plain and settings.READ_CACHE)
            or feed.loaded is None
            or time.monotonic() >= feed.loaded[0] - AHEAD_S
        ):
            loaded = await in_thread(
                lambda: on_replica(lambda: self._load(ReadQuery(given, *FRESHNESS_NAMES), terms))
            )
            feed.loaded = time.monotonic() + KEEP_S, loaded
        until, (as_of, loaded) = feed.loaded
        seq = feed.mirror.seq if feed.is_current and feed.mirror is not None else 0
        ticker = feed.ticker if feed.is_current else None
        document = self._catalogue.document(loaded, seq=seq, ticker=ticker)
        return Held(until if is_plain else 0.0, _answer({**document, "as_of": as_of}), until - AHEAD_S)

    def _load(self, query: ReadQuery, terms: MarketTerms) -> tuple[str, Any]:
        as_of = query.reach(("markets",), [market_slot(terms.market_id)])
        return as_of, self._catalogue.load(terms.market_id)

    async def _book(self, feed: MarketFeed, terms: MarketTerms, given: Mapping[str, str]) -> Held:
        query = ReadQuery(given, *documents.BOOK_TAKES)
        as_of = self._reflected(feed) if settings.READ_CACHE else None
        min_as_of = query.text("min_as_of")
        if (
            as_of is None
            or query.text("at") is not None
            or query.requires_fresh
            or (min_as_of is not None and not covers(as_of, min_as_of))
        ):
            return Held(0.0, await _read_through(documents.book_document, given, documents.BOOK_TAKES, terms))
        assert feed.mirror is not None
        depth, outcome = documents.depth_of(query), query.outcome(terms) or 0
        bids, asks = feed.mirror.shown(outcome)
        document = {
            "outcome": terms.outcomes[outcome],
            "bids": documents.levels_json(bids[:depth]),
            "asks": documents.levels_json(asks[:depth]),
            "seq": feed.mirror.seq,
            "checksum": outcome_checksum(terms.outcomes[outcome], bids, asks),
            "as_of": as_of,
        }
        return Held(FOR_EVER, _answer(document))

    async def _trades(self, feed: MarketFeed, terms: MarketTerms, given: Mapping[str, str]) -> Held:
        answer = await _read_through(documents.trades_document, given, documents.TRADES_TAKE, terms)
        reflected = self._reflected(feed)
        if any(name in given for name in FRESHNESS_NAMES) or reflected is None:
            return Held(0.0, answer)
        now = time.monotonic()
        if not covers(answer.as_of, reflected):
            return Held(now + KEEP_BEHIND_S, answer)
        return Held(now + KEEP_S, answer, now + KEEP_S - AHEAD_S)

    @staticmethod
    def _reflected(feed: MarketFeed) -> str | None:
        """The token of what the feed has told of the market; None while it cannot vouch for that."""
        if not feed.is_current or feed.ticker is None or feed.ticker.next_offset == 0:
            return None
        return token_of([(market_slot(feed.market_id), feed.ticker.next_offset)])


async def _read_through(
    document: Callable[[ReadQuery, MarketTerms], Document],
    given: Mapping[str, str],
    known: tuple[str, ...],
    terms: MarketTerms,
) -> Answer:
    """As the other lane reads it."""
    return _answer(await in_thread(lambda: on_replica(lambda: document(ReadQuery(given, *known), terms))))


def _answer(document: Document) -> Answer:
    return answer_of(document["as_of"], json_bytes(document))
