"""The yardstick most exchanges begin as: lock the row, match in SQL, commit; one order a transaction, one client.

It is given the same flow as the engine, and its functions are compiled and its statement prepared; what it does is in
plain_loop.sql.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from ops.bench.commit_path import MARKETS, WARM_UP_SECONDS
from ops.bench.flow import Place, mixed_flow
from ops.bench.stage import ACCOUNT_CASH_PIPS, ACCOUNTS, Stage

SCHEMA = Path(__file__).with_name("plain_loop.sql")

PLACE = "SELECT plain_place(%s, %s, %s, %s, %s, %s)"
CANCEL = "SELECT plain_cancel(%s, %s, %s)"


@dataclass(frozen=True, slots=True)
class PlainRun:
    """One repetition; `trades` show that it did match."""

    commands_per_s: float
    acknowledged: int
    committed: int
    trades: int


def run_plain_loop(stage: Stage, database: str, *, seconds: float, seed: int) -> PlainRun:
    """One repetition on a fresh database. Counts of orders are of the whole run, the rate of its window."""
    operations = mixed_flow(markets=MARKETS, accounts=ACCOUNTS, seed=seed)
    placed = done = 0
    with stage.connect(database) as connection:
        connection.execute(SCHEMA.read_text().encode())
        connection.execute(
            "INSERT INTO plain_account SELECT n, %s FROM generate_series(0, %s) AS n",
            [ACCOUNT_CASH_PIPS, ACCOUNTS - 1],
        )
        connection.execute(
            "INSERT INTO plain_market SELECT n FROM generate_series(0, %s) AS n", [MARKETS - 1]
        )
        begin = time.perf_counter() + WARM_UP_SECONDS
        end = begin + seconds
        for step in operations:
            if isinstance(step, Place):
                connection.execute(PLACE, step, prepare=True)
                placed += 1
            else:
                connection.execute(CANCEL, step, prepare=True)
            now = time.perf_counter()
            done += now >= begin
            if now >= end:
                break
        took_s = time.perf_counter() - begin
        row = connection.execute(
            "SELECT (SELECT count(*) FROM plain_order), (SELECT count(*) FROM plain_trade)"
        ).fetchone()
    assert row is not None
    return PlainRun(done / took_s, placed, row[0], row[1])
