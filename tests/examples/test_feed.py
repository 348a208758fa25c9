"""The feed's own recovery: gaps, wrong checksums, silence, refusals, restarts and frames that make no sense."""

import asyncio
import json
from typing import Any

import pytest

from examples.pmarket_client import Book, Feed, Problem, Stream, Update
from tests.examples.scripted_feed import PATIENCE_S, ScriptedFeed, no, ok


async def until(book: Book, why: str) -> None:
    """Until the book says so."""
    async with asyncio.timeout(PATIENCE_S):
        version = book.version
        while book.why != why:
            version = await book.newer(version)


async def trusted_book(feed: Feed) -> Book:
    book = feed.book("m")
    await until(book, "")
    return book


async def update_of(stream: Stream) -> Update:
    async with asyncio.timeout(PATIENCE_S):
        return await anext(stream)


def subscribed(scripted: ScriptedFeed) -> list[tuple[str, int | None]]:
    frames = [frame for frame in scripted.asked if frame["op"] == "subscribe"]
    return [(frame["channel"], frame.get("resume_from")) for frame in frames]


# Books --------------------------------------------------------------------------------------------


async def test_a_book_is_subscribed_to_and_follows(feed: Feed, scripted: ScriptedFeed):
    book = await trusted_book(feed)
    version = book.version
    await scripted.change("0.4100", 3)
    await asyncio.wait_for(book.newer(version), PATIENCE_S)
    assert book.bids("Yes") == [(4100, 3), (4000, 10)]
    assert feed.book("m") is book
    assert [frame["op"] for frame in scripted.asked] == ["auth", "subscribe"]


async def test_a_lost_frame_is_noticed_and_the_book_comes_back(feed: Feed, scripted: ScriptedFeed):
    book = await trusted_book(feed)
    whys = watch(book)
    await scripted.change("0.4100", 3, is_lost=True)
    await scripted.change("0.4200", 3)
    await until(book, "")
    await scripted.until_asked("subscribe", 2)
    await until(book, "")
    assert "gap" in whys
    assert [price for price, _ in book.bids("Yes")] == [4200, 4100, 4000]
    # It asked to go on from the last number, and was given a snapshot.
    assert subscribed(scripted) == [("book", None), ("book", 5)]


def watch(book: Book) -> list[str]:
    """Every reason that the book has had from now on."""
    whys: list[str] = []
    conclude = book._conclude

    def note(why: str, **members: bool) -> None:
        whys.append(why)
        conclude(why, **members)

    book._conclude = note
    return whys


async def test_a_server_that_can_resume_sends_what_was_missed_only(feed: Feed, scripted: ScriptedFeed):
    scripted.refuse = lambda frame: ok() if frame.get("resume_from") is not None else None
    book = await trusted_book(feed)
    await scripted.change("0.4100", 3, is_lost=True)
    missed = scripted.snapshot()
    delta = {
        "type": "delta",
        "changes": [["Yes", "bid", "0.4100", 3]],
        "checksum": missed["data"]["checksum"],
    }
    replayed = scripted.frame("book", delta, 5)
    await scripted.heartbeat(("book", "m", 6))
    await scripted.until_asked("subscribe", 2)
    await scripted.tell(replayed)
    await until(book, "")
    assert [price for price, _ in book.bids("Yes")] == [4100, 4000]
    assert subscribed(scripted) == [("book", None), ("book", 5)]


async def test_a_wrong_checksum_is_answered_with_a_new_subscription_until_it_is_right(
    feed: Feed, scripted: ScriptedFeed
):
    scripted.wrong_checksums = 3
    book = feed.book("m")
    await until(book, "")
    assert subscribed(scripted) == [("book", None)] * 4
    assert book.bids("Yes") == [(4000, 10)]


async def test_a_heartbeat_with_another_number_is_a_gap(feed: Feed, scripted: ScriptedFeed):
    book = await trusted_book(feed)
    await scripted.change("0.4100", 3, is_lost=True)
    await scripted.heartbeat(("book", "m", 6))
    await scripted.until_asked("subscribe", 2)
    await until(book, "")
    assert book.best("Yes") == (4100, None)


async def test_a_subscription_that_the_server_has_forgotten_is_renewed(feed: Feed, scripted: ScriptedFeed):
    await trusted_book(feed)
    await scripted.heartbeat()
    await scripted.until_asked("subscribe", 2)
    await trusted_book(feed)


async def test_a_server_without_a_feed_is_not_believed_until_it_has_one(feed: Feed, scripted: ScriptedFeed):
    book = await trusted_book(feed)
    await scripted.heartbeat(("book", "m", None), live=False)
    await until(book, "server not live")
    await scripted.heartbeat(("book", "m", 5))
    await until(book, "")
    assert subscribed(scripted) == [("book", None)]


async def test_a_server_that_falls_silent_is_left_for_a_new_connection(
    scripted: ScriptedFeed, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("examples.pmarket_client.MAX_SILENCE_S", 0.3)
    async with Feed(scripted.url) as feed:
        book = feed.book("m")
        whys = watch(book)
        await scripted.until_asked("subscribe", 2)
        assert "silent for 0 s" in whys
    assert len(scripted.connections) >= 2


async def test_a_server_that_dies_is_waited_for_and_everything_is_subscribed_again(
    feed: Feed, scripted: ScriptedFeed
):
    book, ticker = await trusted_book(feed), feed.stream("ticker", "m")
    await scripted.until_asked("subscribe", 2)
    await scripted.stop()
    await until(book, "disconnected")
    await scripted.start()
    scripted.books["m"] = [("0.3000", 1)]
    scripted.seq = 9
    await until(book, "")
    assert book.bids("Yes") == [(3000, 1)]
    asked = await scripted.until_asked("subscribe", 4)
    assert [frame["channel"] for frame in asked].count("ticker") == 2
    assert ticker.seq is None
    assert len([frame for frame in scripted.asked if frame["op"] == "auth"]) == 2


async def test_a_subscription_that_comes_too_soon_is_asked_for_again(feed: Feed, scripted: ScriptedFeed):
    answers = [no(429, "rate_limited", retry_after_s=0), no(503, "overloaded"), None]
    scripted.refuse = lambda frame: answers.pop(0) if frame["op"] == "subscribe" else None
    await trusted_book(feed)
    assert len(subscribed(scripted)) == 3


async def test_a_market_that_is_not_there_is_said_and_not_asked_for_again(feed: Feed, scripted: ScriptedFeed):
    scripted.refuse = lambda frame: no(404, "not_found") if frame.get("market_id") == "none" else None
    nowhere = feed.book("none")
    await until(nowhere, "refused: not_found")
    await trusted_book(feed)
    assert len(subscribed(scripted)) == 2


async def test_a_book_that_is_left_says_so_and_is_not_followed(feed: Feed, scripted: ScriptedFeed):
    book = await trusted_book(feed)
    feed.leave(book)
    assert book.why == "left"
    await scripted.until_asked("unsubscribe")
    assert feed.book("m") is not book


@pytest.mark.parametrize(
    "wrong",
    [
        "no json",
        "[" * 50_000,
        "[1, 2]",
        "null",
        b"\x00\xff",
        {"channel": "heartbeat", "data": None},
        {
            "channel": "heartbeat",
            "data": {"live": True, "subscriptions": [{"channel": "book", "market_id": []}]},
        },
    ],
    ids=lambda wrong: str(wrong)[:30],
)
async def test_a_server_that_speaks_nonsense_is_left_and_tried_again(
    feed: Feed, scripted: ScriptedFeed, wrong: Any
):
    book = await trusted_book(feed)
    await scripted.tell(wrong)
    await until(book, "disconnected")
    await until(book, "")
    assert len(scripted.connections) == 2


@pytest.mark.parametrize(
    "unknown",
    [
        {"channel": "weather", "market_id": "m", "seq": 1, "prev_seq": None, "data": {}},
        {"channel": "book", "market_id": "another", "seq": 1, "prev_seq": None, "data": {}},
        {"channel": ["book"], "market_id": {}},
        {"id": 999, "ok": True},
        {"id": None, "ok": False, "error": "?"},
        {"notice": "maintenance at noon"},
        {},
    ],
    ids=lambda unknown: json.dumps(unknown)[:30],
)
async def test_frames_that_are_not_known_are_passed_over(feed: Feed, scripted: ScriptedFeed, unknown: dict):
    book = await trusted_book(feed)
    version = book.version
    await scripted.tell(unknown)
    await scripted.change("0.4100", 3)
    await asyncio.wait_for(book.newer(version), PATIENCE_S)
    assert (book.best("Yes"), len(scripted.connections)) == ((4100, None), 1)


async def test_a_key_that_does_not_count_costs_the_account_channel_only(feed: Feed, scripted: ScriptedFeed):
    scripted.refuse = lambda frame: no(401, "not_authenticated") if frame["op"] == "auth" else None
    account = feed.stream("account")
    with pytest.raises(Problem, match="not_authenticated"):
        await update_of(account)
    await trusted_book(feed)


# Streams ------------------------------------------------------------------------------------------


def trade(seq: int) -> dict[str, Any]:
    return {"trade_id": f"t{seq}", "seq": seq}


def ids(update: Update) -> list[str]:
    return [row["trade_id"] for row in update.data]


async def trades(feed: Feed, scripted: ScriptedFeed) -> Stream:
    stream = feed.stream("trades", "m")
    await scripted.until_asked("subscribe")
    await scripted.tell(scripted.frame("trades", [trade(4), trade(3)], None))
    return stream


async def test_trades_come_oldest_first_and_the_first_update_may_lack_older_ones(
    feed: Feed, scripted: ScriptedFeed
):
    stream = await trades(feed, scripted)
    first = await update_of(stream)
    assert (ids(first), first.complete) == (["t3", "t4"], False)
    scripted.seq = 7
    await scripted.tell(scripted.frame("trades", [trade(7), trade(6)], 5))
    then = await update_of(stream)
    assert (ids(then), then.complete) == (["t6", "t7"], True)


@pytest.mark.parametrize(
    ("rows", "told", "complete"),
    [
        ([trade(9), trade(8), trade(5)], ["t8", "t9"], True),
        ([trade(9), trade(8)], ["t8", "t9"], False),
        ([], [], False),
    ],
)
async def test_after_a_gap_no_trade_comes_twice_and_a_hole_is_said(
    feed: Feed, scripted: ScriptedFeed, rows: list, told: list, complete: bool
):
    stream = await trades(feed, scripted)
    await update_of(stream)
    scripted.seq = 8
    await scripted.tell(scripted.frame("trades", [trade(8)], 7))
    await scripted.until_asked("subscribe", 2)
    scripted.seq = 9
    await scripted.tell(scripted.frame("trades", rows, None))
    update = await update_of(stream)
    assert (ids(update), update.complete) == (told, complete)


async def test_nothing_was_missed_if_the_number_is_still_the_same(feed: Feed, scripted: ScriptedFeed):
    stream = await trades(feed, scripted)
    await update_of(stream)
    await scripted.connections[-1].close()
    await scripted.until_asked("subscribe", 2)
    await scripted.tell(scripted.frame("trades", [], None))
    scripted.seq = 6
    await scripted.tell(scripted.frame("trades", [trade(6)], 5))
    update = await update_of(stream)
    assert (ids(update), update.complete) == (["t6"], True)


async def test_an_account_after_a_new_start_says_that_something_may_be_missing(
    feed: Feed, scripted: ScriptedFeed
):
    scripted.refuse = lambda frame: ok(channel="account") if frame["op"] == "subscribe" else None
    account = feed.stream("account")
    await scripted.until_asked("subscribe")
    told = []
    for prev_seq, seq in ((None, 1), (1, 2)):
        await scripted.tell(
            {"channel": "account", "seq": seq, "prev_seq": prev_seq, "data": {"text": str(seq)}}
        )
        told.append(await update_of(account))
    assert [(update.data["text"], update.complete) for update in told] == [("1", False), ("2", True)]


async def test_updates_that_nobody_fetches_are_dropped_and_the_next_one_says_so(
    feed: Feed, scripted: ScriptedFeed, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Stream, "LONGEST_QUEUE", 3)
    ticker, book = feed.stream("ticker", "m"), feed.book("m")
    await scripted.until_asked("subscribe", 2)
    for number in range(6):
        scripted.seq += 1
        frame = scripted.frame("ticker", {"volume": number}, scripted.seq - 1 if number else None)
        await scripted.tell(frame)
    await scripted.tell(scripted.snapshot())
    async with asyncio.timeout(PATIENCE_S):
        while book.seq != scripted.seq:
            await book.newer(book.version)
    updates = [await update_of(ticker) for _ in range(3)]
    assert [(update.data["volume"], update.complete) for update in updates] == [
        (3, False),
        (4, True),
        (5, True),
    ]


async def test_a_channel_that_this_file_does_not_know_passes_through(feed: Feed, scripted: ScriptedFeed):
    weather = feed.stream("weather", "m")
    await scripted.until_asked("subscribe")
    await scripted.tell(scripted.frame("weather", {"sky": "blue"}, None))
    assert (await update_of(weather)).data == {"sky": "blue"}


async def test_a_malformed_frame_of_a_stream_starts_it_afresh(feed: Feed, scripted: ScriptedFeed):
    stream = await trades(feed, scripted)
    await update_of(stream)
    await scripted.tell({**scripted.frame("trades", None, 5), "seq": 6})
    await scripted.until_asked("subscribe", 2)


async def test_a_stream_that_is_left_or_whose_feed_ends_ends_too(scripted: ScriptedFeed):
    async with Feed(scripted.url) as feed:
        left, other = feed.stream("ticker", "m"), feed.stream("trades", "m")
        feed.leave(left)
        feed.leave(left)
        with pytest.raises(StopAsyncIteration):
            await update_of(left)
        again = feed.stream("ticker", "m")
        feed.leave(left)
        assert feed.stream("ticker", "m") is again
    with pytest.raises(StopAsyncIteration):
        await update_of(other)


async def test_a_stream_that_was_refused_goes_on_when_the_next_connection_has_it(
    feed: Feed, scripted: ScriptedFeed
):
    answers = [no(404, "not_found")]
    scripted.refuse = lambda frame: answers.pop() if answers and frame["op"] == "subscribe" else None
    stream = feed.stream("ticker", "m")
    with pytest.raises(Problem, match="not_found"):
        await update_of(stream)
    await scripted.connections[-1].close()
    await scripted.until_asked("subscribe", 2)
    waiting = asyncio.create_task(update_of(stream))
    await scripted.tell(scripted.frame("ticker", {"volume": 1}, None))
    assert (await waiting).data == {"volume": 1}
