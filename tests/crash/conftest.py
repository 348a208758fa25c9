"""A stage for each test: an empty exchange in the test database, and a Valkey that these tests may kill."""

from collections.abc import Iterator

import pytest
import redis

from ops.embedded import EmbeddedServers, ValkeyServer
from tests.crash.stage import Stage, query
from tests.trading.projections.emptied import empty_exchange
from trading.connection import own_connection
from trading.eventlog.verify import verify_slot
from trading.projections.projection import load_projections
from trading.projections.runner import Projector
from trading.reconcile import reconcile
from trading.shard import process


@pytest.fixture(scope="package")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    servers = EmbeddedServers.prepare(tmp_path_factory.mktemp("crash"), postgres=False)
    servers.start()
    assert servers.valkey is not None
    yield servers.valkey
    servers.stop()


@pytest.fixture
def stage(
    transactional_db: None, valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    """Ends with the log proved, its replay equal to everything that is stored, and money conserved."""
    # A shard that is stepped need not wait for what may come.
    monkeypatch.setattr(process, "READ_WAIT_MS", 5)
    with redis.Redis.from_url(valkey_server.url()) as valkey:
        valkey.flushall()
        empty_exchange()
        query("DELETE FROM shard RETURNING 1")
        made = Stage(valkey)
        try:
            yield made
            made.quiet()
            made.check_balance()
            prove_log()
        finally:
            made.close()
            empty_exchange()


def prove_log() -> None:
    """What `verify_log` and `reconcile` say, once the read models have caught up."""
    projector = Projector(load_projections())
    while projector.round():
        pass
    projector.close()
    with own_connection("pmarket-verify") as log:
        assert [broken for slot in range(32) if (broken := verify_slot(log, slot)) is not None] == []
    assert reconcile(wait_s=0, begin=_unseen, progress=_unseen).differences == []


def _unseen(events: int) -> None:
    """Nobody looks at the progress."""
