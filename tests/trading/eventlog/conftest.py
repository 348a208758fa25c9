"""Each test of the log has a log of its own."""

from collections.abc import Iterator

import pytest

from tests.trading.projections import written_log
from tests.trading.projections.emptied import empty_exchange


@pytest.fixture(autouse=True)
def _empty(transactional_db: None) -> Iterator[None]:
    empty_exchange()
    written_log.RESERVES.clear()
    yield
    empty_exchange()
