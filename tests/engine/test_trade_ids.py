"""Trade ids follow from the log: UUIDs of version 7 that sort by time and never repeat."""

import uuid

from tests.engine.both_markets import START_US
from tests.engine.sayings import create, place
from trading.engine import decide
from trading.engine import events as ev
from trading.engine.market import Market
from trading.engine.trades import trade_id


def trades_of(market_id: str, now_us: int, count: int) -> list[str]:
    market = Market(market_id)
    decide.run(market, create(), budget_pips=0, now_us=now_us)
    for number in range(count):
        order = place(f"a{number}", "ann", "sell", 1, 6000)
        decide.run(market, order, budget_pips=10_000, now_us=now_us)
    events = decide.run(market, place("b", "bob", "buy", count, 6000), budget_pips=10**9, now_us=now_us)
    return [event.trade for event in events if isinstance(event, ev.OrderMatched)]


def test_a_trade_id_is_a_uuid_of_version_7_with_the_batchs_time() -> None:
    for text in trades_of("m", START_US, 3):
        parsed = uuid.UUID(text)
        assert str(parsed) == text
        assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
        assert parsed.int >> 80 == START_US // 1000


def test_trade_ids_of_one_batch_are_in_the_order_of_the_trades() -> None:
    ids = trades_of("m", START_US, 50)
    assert ids == sorted(set(ids))


def test_trade_ids_sort_by_time_before_anything_else() -> None:
    early = trade_id(now_us=START_US, seq=2**36 - 1, market_hash=2**32 - 1)
    late = trade_id(now_us=START_US + 1000, seq=1, market_hash=0)
    assert early < late


def test_versions_beyond_24_bits_keep_their_order() -> None:
    ids = [trade_id(now_us=START_US, seq=seq, market_hash=7) for seq in (2**24 - 1, 2**24, 2**24 + 1)]
    assert ids == sorted(set(ids))


def test_two_markets_make_different_ids_in_the_same_moment() -> None:
    assert not set(trades_of("m", START_US, 5)) & set(trades_of("n", START_US, 5))


def test_the_same_commands_make_the_same_ids() -> None:
    assert trades_of("m", START_US, 5) == trades_of("m", START_US, 5)
