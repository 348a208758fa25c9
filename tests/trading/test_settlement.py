"""Pay-outs and unwinding against a real PostgreSQL: exactly once, to the pip, whatever dies when."""

import itertools
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import OperationalError, connection
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trading.ended_market import Ended
from trading.eventlog.read import read_stream
from trading.ids import new_id
from trading.settlement import Unbalanced, course
from trading.settlement import pay as pay_module
from trading.settlement.split import split_pool

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def no_hint(monkeypatch):
    """The hint needs Valkey; what it wakes polls anyway."""
    monkeypatch.setattr("trading.wake.wake_readers", lambda: None)


def cash_of(account_id):
    with connection.cursor() as cursor:
        cursor.execute("SELECT cash_pips, debt_pips FROM cash_account WHERE account_id = %s", [account_id])
        return cursor.fetchone()


def log_of(account_id):
    with connection.cursor() as cursor:
        return list(read_stream(cursor, stream_id=account_id))


def events_of(account_id):
    """(type, what identifies it apart from market and settlement) of an account's events."""
    hidden = ("market", "settlement")
    return [(e.type, {k: v for k, v in e.data.items() if k not in hidden}) for e in log_of(account_id)]


def ids(count):
    return sorted(new_id() for _ in range(count))


def crowd(count, seed=1):
    """Random holders of a binary market: as many shares of either outcome."""
    rng = random.Random(seed)
    accounts = ids(count)
    yes = [rng.randrange(0, 50) for _ in accounts]
    no = yes[::-1]
    return {account: pair for account, *pair in zip(accounts, yes, no, strict=True)}


def test_winners_get_a_dollar_a_share_and_losers_a_closed_position():
    winner, loser = ids(2)
    market = Ended(holdings={winner: (30, 0), loser: (0, 30)}, payouts=(10_000, 0))
    assert market.settle() == "done"
    assert market.row() == ("done", 2, 2, 300_000, 300_000, True)
    assert (cash_of(winner), cash_of(loser)) == ((300_000, 0), (0, 0))
    assert events_of(winner) == [
        ("position_closed/1", {"quantities": [30, 0], "payout": 300_000}),
        ("payout_issued/1", {"amount": 300_000, "kind": "win", "repaid": 0}),
    ]
    assert events_of(loser) == [("position_closed/1", {"quantities": [0, 30], "payout": 0})]
    cause = {"cause": {"slot": market.slot, "offset": market.offset}}
    assert [event.metadata for event in log_of(winner)] == [cause, cause]
    assert {event.data["market"] for event in log_of(winner)} == {market.market_id}


def test_who_has_left_before_the_end_is_closed_too_and_paid_nothing():
    winner, loser, left = ids(3)
    holdings = {winner: (30, 0), loser: (0, 30), left: (0, 0)}
    market = Ended(holdings=holdings, payouts=(10_000, 0))
    assert market.settle() == "done"
    assert market.row() == ("done", 3, 3, 300_000, 300_000, True)
    assert events_of(left) == [("position_closed/1", {"quantities": [0, 0], "payout": 0})]
    assert cash_of(left) == (0, 0)


def test_a_tie_pays_by_the_vector():
    one, two, three = ids(3)
    holdings = {one: (10, 0, 3), two: (0, 10, 0), three: (0, 0, 7)}
    market = Ended(holdings=holdings, payouts=(3_333, 3_333, 3_334))
    assert market.settle() == "done"
    assert [cash_of(account)[0] for account in (one, two, three)] == [33_330 + 10_002, 33_330, 23_338]
    assert market.row()[3:5] == (100_000, 100_000)


def test_a_pay_out_repays_debt_first():
    winner, loser = ids(2)
    market = Ended(holdings={winner: (1, 0), loser: (0, 1)}, payouts=(10_000, 0))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE cash_account SET debt_pips = 4000 WHERE account_id = %s", [winner])
    market.settle()
    assert cash_of(winner) == (6_000, 0)
    assert events_of(winner)[-1] == ("payout_issued/1", {"amount": 10_000, "kind": "win", "repaid": 4_000})


def test_a_market_without_holders_ends_at_once():
    market = Ended(holdings={}, payouts=(10_000, 0))
    assert market.settle() == "done"
    assert market.row() == ("done", 0, 0, 0, 0, True)


def test_nothing_is_paid_before_the_positions_are_there():
    winner, loser = ids(2)
    market = Ended(holdings={winner: (1, 0), loser: (0, 1)}, payouts=(10_000, 0))
    market.project_up_to(market.offset)
    assert market.settle() == "waiting"
    assert market.row()[0] == "pending"
    assert cash_of(winner) == (0, 0)
    market.project_up_to(market.offset + 1)
    assert market.settle() == "done"


def test_a_chunk_that_fails_after_others_is_no_failure_of_theirs(monkeypatch):
    market = Ended(holdings=crowd(40), payouts=(0, 10_000))
    real, left = course._settle_chunk, [2]

    def until_a_lock_is_held(*arguments):
        if not left[0]:
            raise OperationalError("canceling statement due to lock timeout")
        left[0] -= 1
        return real(*arguments)

    monkeypatch.setattr(course, "_settle_chunk", until_a_lock_is_held)
    assert market.settle() == "running"
    with pytest.raises(OperationalError):
        market.settle()
    monkeypatch.undo()
    assert market.settle() == "done"


def test_a_rebuild_in_the_middle_is_waited_for():
    market = Ended(holdings=crowd(40), payouts=(0, 10_000))
    assert market.settle(time_limit_s=-1) == "running"
    market.project_up_to(0)
    assert market.settle() == "waiting"
    market.project_up_to(market.offset + 1)
    assert market.settle() == "done"


@pytest.mark.parametrize("payouts", [(10_000, 0), None])
def test_positions_that_do_not_add_up_stop_the_settlement_before_it_pays(payouts):
    winner, loser = ids(2)
    net = {winner: -4_000, loser: -5_999}
    market = Ended(
        holdings={winner: (1, 0), loser: (0, 1)}, payouts=payouts, net=net, sets=2 if payouts else 1
    )
    for _ in range(2):
        with pytest.raises(Unbalanced):
            market.settle()
        assert market.row()[0] == "failed"
    assert events_of(winner) == events_of(loser) == []


def test_counting_may_take_longer_than_a_transaction_may(monkeypatch):
    market = Ended(holdings=crowd(20), payouts=(10_000, 0))
    real = course.count_accounts

    def slow(cursor, settlement):
        cursor.execute("SELECT pg_sleep(0.3)")
        return real(cursor, settlement)

    monkeypatch.setattr(course, "count_accounts", slow)
    with connection.cursor() as cursor:
        cursor.execute("SET transaction_timeout = '200ms'")
        try:
            assert market.settle() == "done"
        finally:
            cursor.execute("RESET transaction_timeout")


def test_who_finds_another_counting_comes_again(monkeypatch):
    market = Ended(holdings=crowd(20), payouts=(10_000, 0))
    real, met = course.count_accounts, []

    def meanwhile():
        try:
            met.append(market.settle())
        finally:
            connection.close()

    def counted(cursor, settlement):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(meanwhile).result()
        return real(cursor, settlement)

    monkeypatch.setattr(course, "count_accounts", counted)
    assert market.settle() == "done"
    assert met == ["waiting"]


def test_settling_again_pays_nothing_more():
    market = Ended(holdings=crowd(20), payouts=(10_000, 0))
    assert market.settle() == "done"
    before = [cash_of(account) for account in market.holdings], market.row()
    assert market.settle() == "done"
    assert ([cash_of(account) for account in market.holdings], market.row()) == before


def assert_paid_exactly_once(market, payouts):
    for account_id, quantities in market.holdings.items():
        due = sum(n * pays for n, pays in zip(quantities, payouts, strict=True))
        log = log_of(account_id)
        assert cash_of(account_id) == (due, 0)
        assert sum(e.data["amount"] for e in log if e.type == "payout_issued/1") == due
        assert [e.type for e in log].count("position_closed/1") == 1
    accounts, collateral = len(market.holdings), market.sets * 10_000
    assert market.row() == ("done", accounts, accounts, collateral, collateral, True)


class Died(Exception):
    """Stands for the end of a process at this point."""


def test_a_worker_that_dies_at_any_point_leaves_each_account_done_or_untouched(monkeypatch):
    monkeypatch.setattr(course, "CHUNK_ACCOUNTS", 3)
    market = Ended(holdings=crowd(60), payouts=(4_000, 6_000))
    rng = random.Random(7)
    real = {name: getattr(pay_module, name) for name in ("_mark", "_move_cash", "_show_progress")}

    def dying(name):
        def call(*arguments):
            if rng.random() < 0.15:
                raise Died
            real[name](*arguments)
            if rng.random() < 0.15:
                raise Died

        return call  # fmt: skip

    for name in real:
        monkeypatch.setattr(pay_module, name, dying(name))
    deaths = 0
    while True:
        try:
            if market.settle() == "done":
                break
        except Died:
            deaths += 1
            market.zero_settled_positions()
    assert deaths > 3
    assert_paid_exactly_once(market, (4_000, 6_000))


def test_workers_at_the_same_settlement_share_the_work(monkeypatch):
    monkeypatch.setattr(course, "CHUNK_ACCOUNTS", 5)
    market = Ended(holdings=crowd(200), payouts=(0, 10_000))

    def worker(_):
        try:
            return market.settle()
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(worker, range(6))) <= {"done", "busy", "waiting"}
    assert market.settle() == "done"
    assert_paid_exactly_once(market, (0, 10_000))


def test_progress_shows_and_the_work_goes_on_where_it_stopped(monkeypatch):
    market = Ended(holdings=crowd(50), payouts=(10_000, 0))
    clock = itertools.count()
    monkeypatch.setattr("trading.settlement.course.time.monotonic", lambda: next(clock))
    seen = []
    while market.settle(time_limit_s=3) == "running":
        seen.append(market.row()[2])
    assert len(set(seen)) > 2
    assert seen == sorted(seen)
    assert_paid_exactly_once(market, (10_000, 0))


def test_void_returns_what_each_account_put_in_fees_included():
    buyer, seller = ids(2)
    # 10 sets: the buyer paid 6,000 a share and 70 of fees, the seller 4,000 a share.
    market = Ended(holdings={buyer: (10, 0), seller: (0, 10)}, net={buyer: -60_070, seller: -40_000}, fees=70)
    assert market.settle() == "done"
    assert (cash_of(buyer), cash_of(seller)) == ((60_070, 0), (40_000, 0))
    assert events_of(buyer) == [
        ("position_closed/1", {"quantities": [10, 0], "payout": 0}),
        ("payout_issued/1", {"amount": 60_070, "kind": "refund", "repaid": 0}),
    ]
    assert market.row() == ("done", 2, 2, 100_070, 100_000, True)


def test_void_takes_back_from_those_who_are_ahead_first():
    ahead, behind, flat = ids(3)
    market = Ended(
        holdings={ahead: (0, 0), behind: (10, 0), flat: (0, 10)},
        net={ahead: 20_000, behind: -90_000, flat: -30_000},
        cash={ahead: 25_000},
    )
    assert market.settle() == "done"
    assert [cash_of(account)[0] for account in (ahead, behind, flat)] == [5_000, 90_000, 30_000]
    assert events_of(ahead) == [("payout_reversed/2", {"amount": 20_000, "kind": "take_back", "owed": 0})]


def test_void_scales_refunds_down_where_the_cash_is_gone():
    ahead, broke, one, two, three = ids(5)
    net = {ahead: 5_000, broke: 7_000, one: -7_333, two: -7_333, three: -7_334}
    market = Ended(
        holdings={one: (1, 0), two: (0, 1), three: (0, 0)}, net=net, cash={ahead: 9_999, broke: 1_000}
    )
    assert market.settle() == "done"
    # 10,000 of collateral, 5,000 and 1,000 taken back: 16,000 for claims of 22,000.
    assert [cash_of(account)[0] for account in (ahead, broke)] == [4_999, 0]
    refunds = [cash_of(account)[0] for account in (one, two, three)]
    assert sum(refunds) == 16_000
    assert refunds == list(split_pool({"a": 7_333, "b": 7_333, "c": 7_334}, 16_000).values())
    assert market.row()[3] == 16_000


def test_a_worker_that_dies_while_unwinding_changes_no_share(monkeypatch):
    monkeypatch.setattr(course, "CHUNK_ACCOUNTS", 2)
    rng = random.Random(3)
    accounts = ids(40)
    net = {account: rng.randrange(-9_999, 5_000) for account in accounts}
    total = -sum(net.values())
    sets, fees = divmod(total, 10_000)
    cash = {account: rng.randrange(0, 4_000) for account in accounts}
    holdings = {accounts[0]: (sets, 0), accounts[1]: (0, sets)}
    market = Ended(holdings=holdings, net=net, cash=cash, fees=fees)
    real = pay_module._move_cash

    def dying(*arguments):
        if rng.random() < 0.3:
            raise Died
        real(*arguments)

    monkeypatch.setattr(pay_module, "_move_cash", dying)
    while True:
        try:
            if market.settle() == "done":
                break
        except Died:
            market.zero_settled_positions()
    taken = {account: min(max(net[account], 0), cash[account]) for account in accounts}
    pool = total + sum(taken.values())
    refunds = split_pool({account: -flow for account, flow in net.items() if flow < 0}, pool)
    for account in accounts:
        assert cash_of(account)[0] == cash[account] - taken[account] + refunds.get(account, 0)
    assert sum(refunds.values()) == pool


@given(st.dictionaries(st.text(max_size=3), st.integers(1, 10**12), min_size=1, max_size=30), st.data())
@settings(max_examples=200, deadline=None)
@pytest.mark.django_db(transaction=False)
def test_a_pool_is_divided_to_the_last_pip_and_nobody_gets_more_than_the_claim(owed, data):
    total = sum(owed.values())
    pool = data.draw(st.integers(0, total))
    shares = split_pool(owed, pool)
    assert sum(shares.values()) == pool
    for claimant, share in shares.items():
        exact = owed[claimant] * pool
        assert exact // total <= share <= min(owed[claimant], exact // total + 1)
