"""A shard that starts from snapshots goes on where the one before it stopped; the stage then proves money and log."""

import pytest
from django.db import connection

from tests.crash.conftest import stage, valkey_server
from tests.trading.snapshots.session import random_session
from trading.engine.market import Market
from trading.engine.snapshot import encode_state
from trading.snapshots import replay
from trading.snapshots.replay import State
from trading.snapshots.take import take_snapshot

__all__ = ["stage", "valkey_server"]
pytestmark = pytest.mark.django_db(transaction=True, available_apps=["trading"])


def test_a_killed_shard_is_followed_by_one_that_starts_from_snapshots(stage, monkeypatch):
    markets = [stage.market(), stage.market("A", "B", "C")]
    random_session(stage, markets, commands=120, seed=21)
    with connection.cursor() as cursor:
        taken = {market_id: take_snapshot(cursor, market_id) for market_id in markets}
    random_session(stage, markets, commands=60, seed=22)
    stage.shard.crash()
    starts = {}
    real = replay.read_tail

    def noted(cursor, *, stream_id, after_version, **names):
        starts.setdefault(stream_id, after_version)
        return real(cursor, stream_id=stream_id, after_version=after_version, **names)

    monkeypatch.setattr(replay, "read_tail", noted)
    random_session(stage, markets, commands=120, seed=23)
    assert starts == taken
    stage.quiet()
    with connection.cursor() as cursor:
        for market_id in markets:
            market = stage.shard.market(market_id)
            replayed = replay.replay(cursor, State(Market(market_id)), upto_version=market.seq)
            assert encode_state(market) == encode_state(replayed.market)
