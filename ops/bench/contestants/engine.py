"""The project's own production engine on the flow, as far as argv[3] says: `book`, `rules` or `match`.

book    the price levels alone: queue, take from the first in the queue, leave (trading/engine/book.py)
rules   decide and apply: refusals, cover, positions, money, fees, events
match   a batch as the shard works it: rules, events and metadata as canonical JSON, hash chain, cash, replies
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any

from ops.bench.contestants.contest import Flow, Result, compete
from trading.engine.book import Book, BookSide
from trading.engine.commands import CancelOrder, CreateMarket, PlaceOrder
from trading.engine.decide import run
from trading.engine.events import OrderMatched, OrderPlaced
from trading.engine.market import Market, Order

MARKET = "01890000-0000-7000-8000-000000000001"
BUDGET_PIPS = 10**15
NOW_US = 1_800_000_000_000_000
HOUR_US = 3_600_000_000
TICK_PIPS = 100
BATCH_COMMANDS = 180

Work = Callable[[], Callable[[], Result]]


def uuid_of(kind: int, number: int) -> str:
    """An id as ids are: of the same length and form."""
    return f"01890000-{kind:04x}-7000-8000-{number:012x}"


def command_of(step: list[Any]) -> PlaceOrder | CancelOrder:
    """The engine's command of one operation; orders have client ids, as bots give them."""
    account = uuid_of(1, step[1])
    if len(step) == 2:
        return CancelOrder(
            market_id=MARKET, account_id=account, order_id=uuid_of(2, step[0]), client_order_id=None
        )
    number, _, is_buy, price_ticks, quantity = step
    return PlaceOrder(
        market_id=MARKET, account_id=account, order_id=uuid_of(2, number), outcome=0, side="buy" if is_buy else "sell",
        order_type="limit", price_pips=price_ticks * TICK_PIPS, quantity_shares=quantity, time_in_force="GTC",
        client_order_id=f"bench-{number}",
    )  # fmt: skip


def open_market() -> Market:
    market = Market(MARKET)
    create = CreateMarket(
        market_id=MARKET, question="Is this a benchmark?", outcomes=("Yes", "No"), category="bench",
        tick_pips=TICK_PIPS,        taker_fee_e4=0, maker_fee_e4=0, opens_us=None, closes_us=NOW_US + 24 * HOUR_US,
    )  # fmt: skip
    run(market, create, budget_pips=0, now_us=NOW_US)
    return market


def prepare_book(flow: Flow) -> Work:
    """The production book's own operations, in the order in which matching would ask for them."""
    book = Book()
    steps: list[tuple[Order, bool]] = []
    by_number: dict[int, Order] = {}
    for step in flow:
        if len(step) == 2:
            steps.append((by_number[step[0]], True))
        else:
            order = by_number[step[0]] = _order_of(command_of(step))
            steps.append((order, False))
    trades: list[tuple[str, str, int, int]] = []

    def work() -> Callable[[], Result]:
        for order, is_cancel in steps:
            own, opposite = (book.bids, book.asks) if order.is_bid else (book.asks, book.bids)
            if not is_cancel:
                _cross(order, own, opposite, trades)
            elif left := order.remaining_shares:
                order.remaining_shares = 0
                own.reduce(order, left)
        return lambda: Result(len(trades), sum(trade[3] for trade in trades))

    return work


def _order_of(command: Any) -> Order:
    placed = OrderPlaced(
        account=command.account_id, cash=0, client_order_id=command.client_order_id, order=command.order_id, outcome=0,
        price=command.price_pips, quantity=command.quantity_shares, reserved=0, side=command.side, tif="GTC",
        type="limit",
    )  # fmt: skip
    return Order(placed, at_us=NOW_US, seq=0)


def _cross(order: Order, own: BookSide, opposite: BookSide, trades: list[tuple[str, str, int, int]]) -> None:
    """Price-time matching with nothing but the book: what is left is queued."""
    limit = order.book_price_pips * own.sign
    while order.remaining_shares:
        maker = opposite.first()
        if maker is None or maker.book_price_pips * own.sign > limit:
            own.add(order)
            return
        quantity = min(maker.remaining_shares, order.remaining_shares)
        order.remaining_shares -= quantity
        maker.remaining_shares -= quantity
        opposite.reduce(maker, quantity)
        trades.append((maker.order_id, order.order_id, maker.book_price_pips, quantity))


def prepare_rules(flow: Flow) -> Work:
    """decide and apply, one command after the other, with cash in plenty."""
    market = open_market()
    commands = [command_of(step) for step in flow]
    events: list[Any] = []

    def work() -> Callable[[], Result]:
        for command in commands:
            events.extend(run(market, command, budget_pips=BUDGET_PIPS, now_us=NOW_US))
        return lambda: _counted(events)

    return work


def _counted(events: list[Any]) -> Result:
    trades = [event for event in events if type(event) is OrderMatched]
    return Result(len(trades), sum(trade.quantity for trade in trades))


def prepare_match(flow: Flow) -> Work:
    """The shard's MATCH step in batches of BATCH_COMMANDS, up to what T2 and the replies need."""
    from trading.eventlog.append import EMPTY, Head
    from trading.shard.batch import Batch
    from trading.shard.slots import OwnedSlot

    market = open_market()
    envelopes = list(_sealed(flow))
    slot = OwnedSlot(slot=0, epoch=1, next_offset=0, command_offset="0-0", recorded_us=NOW_US)
    trades: list[Any] = []

    def work() -> Callable[[], Result]:
        head = Head(market.seq, EMPTY.hash)
        for start in range(0, len(envelopes), BATCH_COMMANDS):
            commands = envelopes[start : start + BATCH_COMMANDS]
            granted = {envelope.account_id: BUDGET_PIPS for envelope in commands}
            batch = Batch(slots=[slot], granted=granted, now_us=NOW_US)
            for envelope in commands:
                head = batch.run(slot=0, gateway_id="bench", envelope=envelope, market=market, head=head)
            batch.replies()
            batch.plan(None)
            trades.extend(trade for found in batch.trades.values() for trade, _ in found)
        return lambda: Result(len(trades), sum(trade.quantity_shares for trade in trades))

    return work


def _sealed(flow: Flow) -> Iterator[Any]:
    """Envelopes as the gateway seals them."""
    from trading.gateway import seal

    for number, step in enumerate(flow):
        command = command_of(step)
        client_id = command.client_order_id if isinstance(command, PlaceOrder) else None
        command_id = command.order_id if isinstance(command, PlaceOrder) else uuid_of(3, number)
        yield seal(
            command, command_id=command_id, account_id=command.account_id, actor="bench", request_id=command_id,
            client_id=client_id,
        )  # fmt: skip


DEPTHS = {"book": prepare_book, "rules": prepare_rules, "match": prepare_match}

if __name__ == "__main__":
    compete(DEPTHS[sys.argv[3]])
