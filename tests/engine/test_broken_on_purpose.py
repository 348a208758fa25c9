"""Each check of the harness catches the fault it is for: the engine is broken on purpose, and it must be noticed.

All but the last few faults are looked for without the naive exchange, so that it is the check itself that speaks.
"""

import random
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import msgspec
import pytest

from tests.engine.sequences import STEP_BYTES, steps
from tests.engine.trial import Trial
from trading.engine import apply, book, decide, liquidity, matching
from trading.engine import commands as cmd
from trading.engine import events as ev
from trading.engine.market import Fence, Market, Order

SESSIONS, STEPS = 40, 300
Patch = pytest.MonkeyPatch


def play(*, compare: bool) -> None:
    for seed in range(SESSIONS):
        data = bytearray(random.Random(seed).randbytes(STEP_BYTES * (1 + STEPS)))
        data[4] = 0
        trial = Trial(compare=compare)
        for now_us, command in steps(bytes(data), outcomes=(2, 3)[seed % 2], with_fees=seed % 3 > 0):
            trial.play(now_us, command)
        trial.finish()


def change_events(patch: Patch, kind: type, change: Callable[[Any], Any]) -> None:
    """Lets the deciders of a command say something else: the state follows what they say."""
    decider = decide._DECIDERS[kind]

    def changed(market: Market, command: Any, budget_pips: int, now_us: int) -> Iterator[ev.Event]:
        for event in decider(market, command, budget_pips, now_us):
            yield change(event)

    patch.setitem(decide._DECIDERS, kind, changed)


def after_applying(patch: Patch, kind: type, fault: Callable[[Market, Any], None]) -> None:
    applier = apply._APPLIERS[kind]

    def changed(market: Market, event: Any, at_us: int) -> None:
        applier(market, event, at_us)
        fault(market, event)

    patch.setitem(apply._APPLIERS, kind, changed)


def an_end_gives_a_pip_too_much(patch: Patch) -> None:
    change_events(
        patch, cmd.CancelOrder,
        lambda event: (
            msgspec.structs.replace(event, cash=event.cash + 1) if type(event) is ev.OrderCancelled else event
        ),
    )  # fmt: skip


def a_fill_takes_a_pip_too_much(patch: Patch) -> None:
    real = matching._leg
    patch.setattr(matching, "_leg", lambda *terms: _less(real(*terms)))


def _less(leg: ev.Leg) -> ev.Leg:
    return msgspec.structs.replace(leg, cash=leg.cash - 1)


def orders_are_placed_beyond_the_cash(patch: Patch) -> None:
    real = decide._place
    patch.setitem(
        decide._DECIDERS, cmd.PlaceOrder, lambda market, command, budget, now: real(market, command, 10**12, now)
    )  # fmt: skip


def a_share_appears_from_nowhere(patch: Patch) -> None:
    def fault(market: Market, event: ev.OrderMatched) -> None:
        market.holdings[event.legs[0].account].free[0] += 1

    after_applying(patch, ev.OrderMatched, fault)


def a_mint_is_not_counted(patch: Patch) -> None:
    def fault(market: Market, event: ev.OrderMatched) -> None:
        market.sets -= 1

    after_applying(patch, ev.OrderMatched, fault)


def free_sets_are_kept(patch: Patch) -> None:
    patch.setattr(matching, "nettable", lambda *_, **__: 0)


def earmarks_are_forgotten(patch: Patch) -> None:
    patch.setattr(apply, "_earmark", lambda *_: None)


def an_equal_price_does_not_meet(patch: Patch) -> None:
    def strict(is_bid: bool, taker: int, maker: int) -> bool:
        return maker < taker if is_bid else maker > taker

    patch.setattr(matching, "crosses", strict)
    patch.setattr(liquidity, "crosses", strict)


def nothing_is_implied(patch: Patch) -> None:
    patch.setattr(matching, "beside", lambda *_: [])


def fees_are_rounded_down(patch: Patch) -> None:
    patch.setattr(matching, "fee_pips", lambda numerator: numerator // 10**8)


def fees_are_rounded_up_for_each_fill(patch: Patch) -> None:
    after_applying(patch, ev.OrderMatched, _forget_fees)


def _forget_fees(market: Market, event: ev.OrderMatched) -> None:
    for leg in event.legs:
        order = market.orders.get(leg.order)
        if order is not None:
            order.fee_numerator = order.fees_pips = 0


def no_fee_is_reserved(patch: Patch) -> None:
    real = decide.reserve_pips
    patch.setattr(decide, "reserve_pips", lambda **terms: real(**{**terms, "rate_e4": 0}))


def fences_stop_nobody(patch: Patch) -> None:
    patch.setattr(Fence, "stops", lambda *_, **__: False)


def expired_orders_trade(patch: Patch) -> None:
    real = decide.match
    patch.setattr(decide, "match", lambda market, taker, now_us: real(market, taker, 0))


def orders_expire_too_early(patch: Patch) -> None:
    real = decide._expire_orders
    patch.setitem(
        decide._DECIDERS, cmd.ExpireOrders, lambda market, command, budget, now: real(market, command, budget, now + 9)
    )  # fmt: skip


def orders_that_had_expired_are_placed(patch: Patch) -> None:
    real = decide._place
    patch.setitem(
        decide._DECIDERS, cmd.PlaceOrder, lambda market, command, budget, now: real(market, command, budget, now - 9)
    )  # fmt: skip


def the_list_of_expiring_orders_loses_some(patch: Patch) -> None:
    after_applying(patch, ev.OrderPlaced, lambda market, event: market.expiring.clear())


def too_many_orders_are_to_be_cancelled_when_suspended(patch: Patch) -> None:
    def fault(market: Market, event: ev.OrderPlaced) -> None:
        market.cancelled_when_suspended[event.order] = market.orders[event.order]

    after_applying(patch, ev.OrderPlaced, fault)


def reduce_only_is_not_judged(patch: Patch) -> None:
    real = decide._place

    def place(market: Market, command: cmd.PlaceOrder, budget: int, now_us: int) -> Iterator[ev.Event]:
        for event in real(market, msgspec.structs.replace(command, reduce_only=False), budget, now_us):
            is_it = type(event) is ev.OrderPlaced and command.reduce_only
            yield msgspec.structs.replace(event, reduce_only=True) if is_it else event

    patch.setitem(decide._DECIDERS, cmd.PlaceOrder, place)


def a_larger_order_keeps_its_place(patch: Patch) -> None:
    change_events(
        patch, cmd.AmendOrder,
        lambda event: msgspec.structs.replace(event, requeued=False) if type(event) is ev.OrderAmended else event,
    )  # fmt: skip


def money_is_not_counted(patch: Patch) -> None:
    patch.setattr(decide, "affordable_shares", lambda *_, most_shares, **__: most_shares)


def a_changed_level_is_not_published(patch: Patch) -> None:
    after_applying(patch, ev.OrderCancelled, lambda market, event: market.touched.clear())


def a_levels_size_is_wrong(patch: Patch) -> None:
    real = book.BookSide.add

    def add(side: book.BookSide, order: Order) -> None:
        real(side, order)
        side.levels[order.book_price_pips * side.sign].quantity_shares += 1

    patch.setattr(book.BookSide, "add", add)


def trades_share_an_id(patch: Patch) -> None:
    one = "00000000-0000-7000-8000-000000000000"
    patch.setattr(matching, "trade_id", lambda **_: one)


def the_state_depends_on_more_than_the_log(patch: Patch) -> None:
    numbers = count()
    after_applying(
        patch, ev.OrderPlaced, lambda market, _: setattr(market, "closes_us", market.closes_us + next(numbers) % 3)
    )  # fmt: skip


CHECKED: list[tuple[Callable[[Patch], None], str]] = [
    (an_end_gives_a_pip_too_much, "an end frees what was reserved"),
    (a_fill_takes_a_pip_too_much, "a fill moves other cash than it says|may not need more"),
    (orders_are_placed_beyond_the_cash, "below zero"),
    (a_share_appears_from_nowhere, "shares for"),
    (a_mint_is_not_counted, "shares for"),
    (free_sets_are_kept, "netted|complete set"),
    (earmarks_are_forgotten, "earmarks differ"),
    (an_equal_price_does_not_meet, "book is crossed"),
    (nothing_is_implied, "of all outcomes (buy|sell) a set"),
    (fees_are_rounded_down, "rounded up once"),
    (fees_are_rounded_up_for_each_fill, "rounded up once|another reserve"),
    (no_fee_is_reserved, "another reserve than is needed"),
    (fences_stop_nobody, "came through a fence"),
    (expired_orders_trade, "traded after its time"),
    (orders_expire_too_early, "expired before its time"),
    (orders_that_had_expired_are_placed, "that had expired was placed|traded after its time"),
    (the_list_of_expiring_orders_loses_some, "expiring orders differ"),
    (too_many_orders_are_to_be_cancelled_when_suspended, "cancel when suspended differ"),
    (reduce_only_is_not_judged, "reduce-only, yet not covered"),
    (a_larger_order_keeps_its_place, "kept its place"),
    (money_is_not_counted, "more was spent|may not need more"),
    (a_changed_level_is_not_published, "without being touched"),
    (a_levels_size_is_wrong, "size"),
    (trades_share_an_id, "trade ids are unique"),
    (the_state_depends_on_more_than_the_log, "the log gives another state"),
]


@pytest.mark.parametrize(("fault", "message"), CHECKED, ids=[fault.__name__ for fault, _ in CHECKED])
def test_what_must_add_up_is_noticed_when_it_does_not(
    monkeypatch: Patch, fault: Callable[[Patch], None], message: str
) -> None:
    fault(monkeypatch)
    with pytest.raises(AssertionError, match=message):
        play(compare=False)


def the_youngest_comes_first(patch: Patch) -> None:
    def first(side: book.BookSide) -> Order | None:
        return next(reversed(side.levels[side.keys[-1]].orders.values())) if side.keys else None

    patch.setattr(book.BookSide, "first", first)


def an_amended_order_keeps_its_age(patch: Patch) -> None:
    def fault(market: Market, event: ev.OrderAmended) -> None:
        if event.requeued:
            order = market.orders[event.order]
            level = market.side_of(order).levels[order.book_price_pips * market.side_of(order).sign]
            level.orders = OrderedDict(sorted(level.orders.items()))

    after_applying(patch, ev.OrderAmended, fault)


def the_oldest_maker_is_bettered(patch: Patch) -> None:
    patch.setattr(liquidity, "_bettered", _from_the_oldest)


def _from_the_oldest(makers: Any, excess: int, tick: int) -> list[tuple[Order, int]]:
    prices = {}
    for order in sorted(makers, key=lambda each: each.queued_seq):
        less = min(excess, order.book_price_pips - tick)
        prices[order.order_id] = order.book_price_pips - less
        excess -= less
    return [(order, prices[order.order_id]) for order in makers]


def post_only_is_not_judged(patch: Patch) -> None:
    patch.setattr(decide, "would_cross", lambda *_: False)


def fill_or_kill_counts_nothing(patch: Patch) -> None:
    patch.setattr(decide, "fillable_shares", lambda market, interest, wanted, now_us: wanted)


def the_maker_is_spared_in_a_self_trade(patch: Patch) -> None:
    patch.setattr(
        matching, "_prevent_self_trade",
        lambda market, taker, own: iter((matching.cancelled(market, taker, "self_trade"),)),
    )  # fmt: skip


RULES = [
    the_youngest_comes_first, an_amended_order_keeps_its_age, the_oldest_maker_is_bettered, post_only_is_not_judged,
    fill_or_kill_counts_nothing, the_maker_is_spared_in_a_self_trade,
]  # fmt: skip


@pytest.mark.parametrize("fault", RULES, ids=[fault.__name__ for fault in RULES])
def test_another_rule_than_the_naive_exchanges_is_noticed(
    monkeypatch: Patch, fault: Callable[[Patch], None]
) -> None:
    fault(monkeypatch)
    with pytest.raises(AssertionError, match="instead of"):
        play(compare=True)


def test_an_engine_that_is_not_broken_passes() -> None:
    play(compare=True)
