"""A recorded log of each released version is replayed for ever.

`golden/events_v1.jsonl` was written once and is never written again: each line is an event as
stored, its market and time, and the digest of that market's state after it. When stored events get
a new version, a new file joins this one.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from trading.engine import codec, invariants
from trading.engine.apply import apply
from trading.engine.market import Market, Order

GOLDEN = Path(__file__).parent / "golden"
LOGS = sorted(GOLDEN.glob("events_v*.jsonl"))
ORDER_FACTS = (
    "order_id", "account_id", "client_order_id", "outcome", "side", "order_type", "price_pips", "quantity_shares",
    "time_in_force", "remaining_shares", "covered_shares", "reserved_pips", "fees_pips", "cost_pips", "fills",
)  # fmt: skip


def facts(market: Market) -> dict[str, Any]:
    """What the log decided, named one by one: a new attribute of the engine must not change it."""
    return {
        "seq": market.seq,
        "status": market.status,
        "outcomes": market.outcomes,
        "terms": [market.tick_pips, market.taker_fee_e4, market.maker_fee_e4, market.opens_us, market.closes_us],
        "closing": None if market.closing is None else list(market.closing),
        "totals": [market.sets, market.fees_pips, market.volume_pips],
        "last_prices": market.last_prices,
        "holdings": {account: [holding.free, holding.held] for account, holding in market.holdings.items()},
        "orders": [order_facts(order) for order in market.orders.values()],
        "books": [[list(book.bids.depth()), list(book.asks.depth())] for book in market.books],
        "queues": [
            [order.order_id for side in (book.bids, book.asks) for order in side.queue()] for book in market.books
        ],
    }  # fmt: skip


def order_facts(order: Order) -> list[Any]:
    return [getattr(order, name) for name in ORDER_FACTS]


def digest(market: Market) -> str:
    return hashlib.sha256(json.dumps(facts(market), sort_keys=True).encode()).hexdigest()[:16]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_a_recorded_log_still_gives_the_state_that_it_gave_then(path: Path) -> None:
    markets: dict[str, Market] = {}
    for number, line in enumerate(lines(path), start=1):
        market = markets.setdefault(line["market"], Market(line["market"]))
        event = codec.event_from(line["type"], line["data"])
        apply(market, event, line["at_us"])
        assert digest(market) == line["state"], f"line {number}, {line['type']}: {facts(market)}"
    for market in markets.values():
        invariants.check(market)


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_a_recorded_event_is_still_stored_as_it_was(path: Path) -> None:
    for line in lines(path):
        event = codec.event_from(line["type"], line["data"])
        assert json.loads(json.dumps(codec.event_data(event))) == line["data"]


def test_the_recorded_logs_hold_every_event() -> None:
    assert {line["type"] for path in LOGS for line in lines(path)} == set(codec.EVENT_TYPES)
