"""GET /markets/{id}/price?at= and /orderbook?at=, and `manage.py replay_market`: a market at any past moment."""

import datetime as dt
import json
import threading

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from rest_framework.test import APIClient

from tests.trading.projections.emptied import all_rights
from tests.trading.projections.written_log import funded_account
from tests.trading.snapshots.conftest import RecordedMarket
from trading.checksum import PRICE_TEXTS
from trading.eventlog.codec import timestamp_text
from trading.snapshots import past, replay
from trading.snapshots.take import take_snapshot

pytestmark = pytest.mark.django_db(transaction=True)


class WatchedMarket(RecordedMarket):
    """Remembers what was to be seen after each of its commands."""

    def do(self, command):
        written = super().do(command)
        if not hasattr(self, "seen"):
            self.seen = []
        state = self.state
        depths = [(list(book.bids.depth()), list(book.asks.depth())) for book in state.books]
        shares = {
            account: [free + held for free, held in zip(holding.free, holding.held, strict=True)]
            for account, holding in state.holdings.items()
        }
        self.seen.append((self.now_us, state.seq, list(state.last_prices), depths, shares))
        return written


@pytest.fixture
def watched(project):
    market = WatchedMarket(("A", "B", "C"), taker_fee_e4=700)
    market.trade_randomly([funded_account() for _ in range(4)], 60, seed=3)
    project()
    return market


def get(path, status=200, **query):
    response = APIClient().get(f"/api/v1{path}", query)
    assert response.status_code == status, response.content
    return response.json()


def snapshot(market):
    with connection.cursor() as cursor:
        return take_snapshot(cursor, market.market_id)


def texts(levels):
    return [[PRICE_TEXTS[price], quantity] for price, quantity in levels]


def assert_past_is_as_it_was_seen(market, moments):
    for at_us, seq, prices, depths, _ in moments:
        at = timestamp_text(at_us)
        for index, name in enumerate(market.outcomes):
            bids, asks = depths[index]
            book = get(f"/markets/{market.market_id}/orderbook", outcome=name, at=at, depth=500)
            assert (book["seq"], book["bids"], book["asks"]) == (seq, texts(bids), texts(asks))
            price = get(f"/markets/{market.market_id}/price", outcome=name, at=at)
            expected = None if prices[index] is None else PRICE_TEXTS[prices[index]]
            assert (price["price"], price["seq"]) == (expected, seq)
            assert price["best_bid"] == (texts(bids)[0][0] if bids else None)
            assert price["best_ask"] == (texts(asks)[0][0] if asks else None)


def test_every_past_moment_is_as_it_was_seen_then(watched):
    assert_past_is_as_it_was_seen(watched, watched.seen[::4])


def test_a_moment_between_two_commits_is_as_the_first_left_it(watched):
    moments = [(at_us + 999, *rest) for at_us, *rest in watched.seen[:-1:9]]
    assert_past_is_as_it_was_seen(watched, moments)


def test_snapshots_change_nothing_but_how_far_the_way_is(watched, project, monkeypatch):
    middle = snapshot(watched)
    watched.trade_randomly([funded_account() for _ in range(3)], 30, seed=4)
    last = snapshot(watched)
    project()
    starts = []
    real = replay.read_tail
    monkeypatch.setattr(
        replay,
        "read_tail",
        lambda *args, **names: starts.append(names["after_version"]) or real(*args, **names),
    )
    assert_past_is_as_it_was_seen(watched, watched.seen[::11])
    assert set(starts) == {0, middle}
    assert_past_is_as_it_was_seen(watched, watched.seen[-1:])
    assert starts[-1] == last


def test_both_outcomes_of_a_binary_market_show_its_one_book(traded, project):
    project()
    at = timestamp_text(traded.now_us)
    now = get(f"/markets/{traded.market_id}/orderbook", outcome="No")
    then = get(f"/markets/{traded.market_id}/orderbook", outcome="No", at=at)
    assert then == now | {"as_of": then["as_of"]}
    assert then["as_of"].count("-") == 1
    price_then = get(f"/markets/{traded.market_id}/price", outcome="No", at=at)
    price_now = get(f"/markets/{traded.market_id}/price", outcome="No")
    assert price_then == price_now | {"as_of": price_then["as_of"]}
    assert price_now["price"] is not None


def test_times_may_be_written_in_any_zone_and_as_fine_as_wanted(watched):
    at_us, seq, *_ = watched.seen[20]
    path = f"/markets/{watched.market_id}/orderbook"
    moment = dt.datetime.fromtimestamp(at_us // 1_000_000, dt.UTC) + dt.timedelta(
        microseconds=at_us % 1_000_000
    )
    elsewhere = moment.astimezone(dt.timezone(dt.timedelta(hours=5, minutes=30)))
    for text in (timestamp_text(at_us)[:-1] + "999z", elsewhere.isoformat(timespec="microseconds")):
        assert get(path, at=text)["seq"] == seq


def test_before_its_creation_a_market_is_not_found(watched):
    for at in (timestamp_text(watched.seen[0][0] - 1), "1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z"):
        answer = get(f"/markets/{watched.market_id}/price", 404, at=at)
        assert (answer["code"], answer["detail"]) == ("not_found", "The market did not exist then.")


def test_a_time_to_come_is_refused_but_not_one_that_the_log_has_reached(watched, monkeypatch):
    path = f"/markets/{watched.market_id}/orderbook"
    answer = get(path, 400, at="2999-01-01T00:00:00Z")
    assert (answer["code"], list(answer["errors"])) == ("invalid_request", ["at"])
    monkeypatch.setattr(past.time, "time_ns", lambda: (watched.now_us - 5_000_000) * 1000)
    assert get(path, at=timestamp_text(watched.now_us))["seq"] == watched.state.seq
    get(path, 400, at=timestamp_text(watched.now_us + 1))


@pytest.mark.parametrize(
    "at", ["", "now", "2026-11-23", "2026-13-23T00:00:00Z", "2026-11-23T24:00:61Z", "1e9"]
)
def test_what_is_no_time_is_refused(watched, at):
    answer = get(f"/markets/{watched.market_id}/price", 400, at=at)
    assert list(answer["errors"]) == ["at"]


def test_a_moment_too_far_from_any_snapshot_is_refused_until_there_is_one(watched, monkeypatch):
    monkeypatch.setattr(past, "LONGEST_TAIL", 5)
    path = f"/markets/{watched.market_id}/orderbook"
    answer = get(path, 503, at=timestamp_text(watched.now_us))
    assert answer["code"] == "overloaded"
    assert "replay_market" in answer["detail"]
    snapshot(watched)
    assert get(path, at=timestamp_text(watched.now_us))["seq"] == watched.state.seq


def test_too_many_replays_at_once_are_refused(watched, monkeypatch):
    monkeypatch.setattr(past, "WAIT_S", 0.01)
    monkeypatch.setattr(past, "_replays", threading.BoundedSemaphore(1))
    path, at = f"/markets/{watched.market_id}/orderbook", timestamp_text(watched.now_us)
    with past._replays:
        assert get(path, 503, at=at)["code"] == "overloaded"
    first = get(path, at=at)
    with past._replays:
        assert get(path, at=at) == first, "what was rebuilt once is kept"


def test_only_so_many_moments_are_kept(watched, monkeypatch):
    monkeypatch.setattr(past, "MOST_KEPT", 3)
    for at_us, *_ in watched.seen[::6]:
        get(f"/markets/{watched.market_id}/price", at=timestamp_text(at_us))
    assert len(past._kept) == 3


def test_a_log_that_was_archived_says_so(watched):
    path, at = f"/markets/{watched.market_id}/orderbook", timestamp_text(watched.now_us)
    with all_rights() as rights:
        rights.execute("DELETE FROM event WHERE stream_id = %s AND version < 9", [watched.market_id])
    answer = get(path, 410, at=at)
    assert answer["code"] == "not_kept"
    assert "event 1 of market" in answer["detail"]


def test_what_came_after_an_archived_part_can_still_be_seen(watched, project):
    archived_us, joint = watched.now_us, snapshot(watched)
    watched.trade_randomly([funded_account() for _ in range(3)], 30, seed=4)
    project()
    with all_rights() as rights:
        rights.execute("DELETE FROM event WHERE stream_id = %s AND version <= %s", [watched.market_id, joint])
    later = [moment for moment in watched.seen if moment[0] >= archived_us]
    assert_past_is_as_it_was_seen(watched, later[::5])
    path = f"/markets/{watched.market_id}/orderbook"
    assert get(path, 410, at=timestamp_text(archived_us - 1))["code"] == "not_kept"
    assert get(path, 410, at=timestamp_text(watched.seen[3][0]))["code"] == "not_kept"


def test_a_past_moment_costs_as_much_as_ten_reads():
    from trading.api.market_data import OrderBookView, PriceView

    class Asked:
        query_params = {"at": "2026-11-23T00:00:00Z"}

    class Plain:
        query_params = {"outcome": "Yes"}

    assert [OrderBookView().throttle_cost(Asked), PriceView().throttle_cost(Asked)] == [10, 10]
    assert OrderBookView().throttle_cost(Plain) == 1


# manage.py replay_market --------------------------------------------------------------------------


def replayed(capsys, market, *options):
    call_command("replay_market", market.market_id, "--json", *options)
    return json.loads(capsys.readouterr().out)


def test_the_command_tells_price_book_and_positions(watched, capsys):
    snapshot(watched)
    for at_us, seq, prices, depths, shares in watched.seen[::8]:
        told = replayed(capsys, watched, "--at", timestamp_text(at_us), "--positions")
        assert told["seq"] == seq
        assert [each["last_price"] for each in told["outcomes"]] == [
            None if price is None else PRICE_TEXTS[price] for price in prices
        ]
        assert [(book["bids"], book["asks"]) for book in told["books"]] == [
            (texts(bids), texts(asks)) for bids, asks in depths
        ]
        held = {each["account_id"]: each["shares"] for each in told["positions"]}
        assert held == {account: row for account, row in shares.items() if any(row)}


def test_without_a_time_the_command_tells_of_now(watched, capsys, monkeypatch):
    at = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    assert replayed(capsys, watched, "--at", at.isoformat())["seq"] == watched.state.seq
    assert "positions" not in replayed(capsys, watched)


def test_the_command_draws_the_book(traded, capsys):
    call_command("replay_market", traded.market_id, "--at", timestamp_text(traded.now_us), "--positions")
    drawn = capsys.readouterr().out
    assert f"event {traded.state.seq} of " in drawn
    assert "       bid   price         ask" in drawn
    (best, quantity), *_ = traded.state.books[0].bids.depth()
    assert f"{quantity:>10}  {PRICE_TEXTS[best]}" in drawn
    assert all(account in drawn for account, row in traded.state.holdings.items() if any(row.free))


def test_the_command_refuses_what_it_cannot_tell(traded):
    with pytest.raises(CommandError, match="did not exist"):
        call_command("replay_market", traded.market_id, "--at", "2020-01-01T00:00:00Z")
    with pytest.raises(CommandError, match="is not a time"):
        call_command("replay_market", traded.market_id, "--at", "yesterday")
    with pytest.raises(CommandError, match="no market"):
        call_command("replay_market", "no-such-market")
    with all_rights() as rights:
        rights.execute("DELETE FROM event WHERE stream_id = %s AND version = 9", [traded.market_id])
    with pytest.raises(CommandError, match=r"event 9 of market .* archived or lost"):
        call_command("replay_market", traded.market_id, "--at", timestamp_text(traded.now_us))
