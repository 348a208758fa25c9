"""Records a golden log: `python -m tests.golden.record 1` writes tests/golden/v1 anew.

It starts a whole exchange, lets `scenario.py` happen to it through the public API, and keeps what is in its log
(the archive's own file format) beside what today's code makes of it: each market's digest, cash, settlements.
Record a version once, when it is released, and never again: from then on `test_golden.py` replays it for ever.
An event that gets a new form afterwards needs an upcaster (`trading/eventlog/upcast.py`) and a next version here.
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tests import conftest

HERE = Path(__file__).parent
STATE = "state.json"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.golden.record", description=__doc__)
    parser.add_argument("version", type=int, help="the released version that the log is of")
    folder = HERE / f"v{parser.parse_args().version}"
    workshop = Path(tempfile.mkdtemp(prefix="pmarket-golden-"))
    try:
        import django

        django.setup()
        record(folder, workshop)
    finally:
        conftest.SERVERS.stop()
        for path in (workshop, conftest.FOLDER):
            shutil.rmtree(path, ignore_errors=True)


def record(folder: Path, workshop: Path) -> None:
    """Lets it happen, and keeps it."""
    from tests.golden.scenario import History
    from tests.running_exchange import RunningExchange

    exchange = RunningExchange(
        workshop, database_url=conftest.os.environ[conftest.POSTGRES_VARIABLE],
        RESOLUTION_APPROVALS="1", DISPUTE_WINDOW="2",
    )  # fmt: skip
    try:
        exchange.start()
        History(exchange).happen()
        for command in ("verify_log", "reconcile"):
            exchange.manage(command)
        shutil.rmtree(folder, ignore_errors=True)
        with exchange.connect() as connection:
            events = write_log(connection, folder)
            state = state_of(connection)
        (folder / STATE).write_text(json.dumps(state, indent=1) + "\n")
    finally:
        exchange.stop()
    print(f"{events} events, {len(state['markets'])} markets are in {folder}")


def write_log(connection: Any, folder: Path) -> int:
    """Every month that has events, as archive files."""
    from trading.eventlog.archive import months_in_table, proven_file

    events = 0
    for month in months_in_table(connection.cursor()):
        if connection.execute(f'SELECT EXISTS (SELECT FROM "{month.partition}")').fetchone()[0]:
            events += proven_file(connection, month, folder, lambda done: None).events
    return events


def state_of(connection: Any) -> dict[str, Any]:
    """What the log has led to: digests of the markets by a replay, and the rows that only writers keep."""
    query = connection.execute
    markets = [row[0] for row in query("SELECT id::text FROM stream WHERE slot < 16 ORDER BY id").fetchall()]
    cash = query(
        "SELECT account_id::text, cash_pips, reserved_pips, debt_pips, fees_paid_pips FROM cash_account ORDER BY 1"
    )
    settlements = query("SELECT settlement_id::text, status, paid_pips FROM settlement ORDER BY 1")
    return {
        "markets": {market_id: replayed(connection, market_id) for market_id in markets},
        "cash": cash.fetchall(),
        "settlements": settlements.fetchall(),
    }


def replayed(connection: Any, market_id: str) -> str:
    """The digest of a market's state after its events."""
    from tests.golden.facts import digest
    from trading.engine.apply import apply
    from trading.engine.codec import event_from
    from trading.engine.market import Market
    from trading.eventlog.read import read_stream

    market = Market(market_id)
    with connection.cursor() as cursor:
        for event in read_stream(cursor, stream_id=market_id):
            apply(market, event_from(event.type, event.data), event.recorded_us)
    return digest(market)


if __name__ == "__main__":
    main()
