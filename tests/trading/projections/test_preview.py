"""What a preview says is what is then paid: by one winner, a tie or a void, of two outcomes or more, half-way too."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.trading.projections.written_log import WrittenMarket, funded_account
from trading import cash
from trading.eventlog.read import read_stream
from trading.projections.projection import load_projections
from trading.projections.runner import Projector
from trading.settlement import course, settle
from trading.settlement.preview import Decision, Preview, preview

ACCOUNTS, AHEAD, CASH_PIPS, ALL = 9, 4, 6_000_000, 1_000


def payouts_of(outcomes: int, how: str) -> tuple[int, ...] | None:
    if how == "void":
        return None
    if how == "win":
        return (*[0] * (outcomes - 1), 10_000)
    share, rest = divmod(10_000, outcomes)
    return (share + rest, *[share] * (outcomes - 1))


def paid_by_the_log(market: WrittenMarket, account_id: str) -> tuple[int, int]:
    """(taken back, paid out) of an account's settlement, as its events tell."""
    taken = paid = 0
    with connection.cursor() as cursor:
        for event in read_stream(cursor, stream_id=account_id):
            if event.data.get("settlement") == market.settlement_id and "amount" in event.data:
                taken += event.data["amount"] * (event.type == "payout_reversed/2")
                paid += event.data["amount"] * (event.type == "payout_issued/1")
    return taken, paid


def get_ahead(market: WrittenMarket, account_id: str, other: str) -> None:
    """Buys for less than it sells for: what a void takes back."""
    market.place(other, "sell", 0, 3_000, 200)
    market.place(account_id, "buy", 0, 3_000, 200)
    market.place(other, "buy", 0, 7_000, 200)
    market.place(account_id, "sell", 0, 7_000, 200)


def spend_elsewhere(accounts: list[str], chance: random.Random) -> None:
    """Some keep little cash or none, so that a void takes back what their orders set free, and not all of it then."""
    for account_id in accounts:
        if chance.random() < 0.7:
            with connection.cursor() as cursor:
                cursor.execute("SELECT cash_pips FROM cash_account WHERE account_id = %s", [account_id])
                (left,) = cursor.fetchone()
            keeps = chance.choice((0, chance.randrange(20_000)))
            if left > keeps:
                cash.withdraw(account_id=account_id, amount_pips=left - keeps, client_id=None, actor="tests")


def said_of(found: Preview) -> dict[str, tuple[int, int]]:
    return {part.account_id: (part.taken_back_pips, part.payout_pips) for part in found.parts}


def assert_preview_is_paid(
    project: Callable[[], None], *, outcomes: int, how: str, seed: int, fee_e4: int, chunks_before: int
) -> None:
    chance = random.Random(seed)
    accounts = [funded_account(CASH_PIPS) for _ in range(ACCOUNTS)]
    market = WrittenMarket(tuple(f"outcome {n}" for n in range(outcomes)), taker_fee_e4=fee_e4)
    for account_id in accounts[:AHEAD]:
        get_ahead(market, account_id, accounts[-1])
    market.trade_randomly(accounts, 45, seed)
    spend_elsewhere(accounts, chance)
    project()
    payouts = payouts_of(outcomes, how)
    decision = Decision(market.market_id, outcomes, payouts, market.settlement_id)
    before = preview(decision, after=None, limit=ALL)
    assert before.totals.adds_up
    assert before.totals.orders == len(market.state.orders)
    if payouts is None:
        market.void()
    else:
        market.resolve(payouts)
    project()
    # Half-way: some slots are paid, and the read model knows it already.
    for _ in range(chunks_before):
        with_limit(settle, market, chunks=1)
        project()
        half_way = preview(decision, after=None, limit=ALL)
        assert half_way.totals.adds_up
        assert said_of(half_way) == said_of(before)
    while settle(market.settlement_id) != "done":
        project()
    project()
    assert {account: paid_by_the_log(market, account) for account in said_of(before)} == said_of(before)
    assert said_of(preview(decision, after=None, limit=ALL)) == said_of(before)
    assert before.totals.paid_pips == sum(paid for _, paid in said_of(before).values())


def with_limit(function: Any, market: WrittenMarket, *, chunks: int) -> None:
    """Settles so many chunks and stops as a worker does whose time is up."""
    real, left = course._settle_chunk, [chunks]

    def limited(*arguments: Any) -> bool:
        left[0] -= 1
        if left[0] < 0:
            raise Stopped
        return bool(real(*arguments))

    course._settle_chunk = limited
    try:
        function(market.settlement_id)
    except Stopped:
        pass
    finally:
        course._settle_chunk = real


class Stopped(Exception):
    """The worker's time is up."""


@pytest.mark.parametrize("how", ["win", "tie", "void"])
def test_a_preview_equals_what_is_then_paid(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(course, "CHUNK_ACCOUNTS", 2)
    projector = Projector(load_projections())

    def project() -> None:
        while projector.round():
            pass

    @given(
        outcomes=st.sampled_from((2, 2, 3, 5)), seed=st.integers(0, 2**32), fee_e4=st.sampled_from((0, 700)),
        chunks_before=st.integers(0, 4),
    )  # fmt: skip
    @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
    def search(outcomes: int, seed: int, fee_e4: int, chunks_before: int) -> None:
        assert_preview_is_paid(project, outcomes=outcomes, how=how, seed=seed, fee_e4=fee_e4,
                               chunks_before=chunks_before)  # fmt: skip

    try:
        search()
    finally:
        projector.close()
