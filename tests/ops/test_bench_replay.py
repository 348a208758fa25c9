"""The benchmark of replay and snapshots measures what it says, on a short history."""

import pytest

from ops.bench.replay import measure_opening, measure_replay, weigh, write_history
from tests.trading.projections.emptied import empty_exchange
from trading.connection import own_connection
from trading.eventlog.verify import verify_slot
from trading.ids import market_slot

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["trading"])


@pytest.fixture
def connection():
    empty_exchange()
    with own_connection("pmarket-bench") as made:
        yield made
    empty_exchange()


def test_a_history_is_a_sound_log_and_every_step_of_its_replay_is_timed(connection):
    market_id = write_history(connection, events=6_000, open_orders=200)
    assert verify_slot(connection, market_slot(market_id)) is None
    rates = measure_replay(connection, market_id)
    assert rates.events >= 6_000
    assert min(rates.apply, rates.decode, rates.read, rates.replay, rates.proved) > 0
    opening = measure_opening(connection, market_id)
    assert (opening.events, opening.tail_events) == (rates.events, 0)
    assert 150 <= opening.open_orders <= 201
    assert opening.snapshot_bytes > 1_000


def test_a_state_is_weighed_by_what_it_refers_to():
    weight = weigh(300)
    assert weight.open_orders == 300
    assert weight.memory_bytes > weight.state_bytes > 300 * 100
