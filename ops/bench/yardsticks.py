"""What PostgreSQL does on this machine with the same events: raw COPY, the recorder of the PyPI package eventsourcing;
and a commit of one row."""

import json
import time
from typing import Any

import psycopg

from ops.bench.interpreters import interpreter
from ops.bench.matching import contestant
from ops.bench.stage import Stage
from trading.eventlog.append import COPY_EVENTS

MOST_EVENTS = 400_000

_EVENTS = """
COPY (SELECT slot, slot_offset, stream_id, version, type, data, metadata, hash, recorded_at FROM event
      WHERE slot < 16 ORDER BY recorded_at, slot, slot_offset LIMIT {limit}) TO STDOUT
"""


def recorded_events(stage: Stage, database: str) -> list[bytes]:
    """The market events the engine has committed, as lines of COPY text in the order of the commits."""
    query = _EVENTS.format(limit=MOST_EVENTS).encode()
    with stage.connect(database) as connection, connection.cursor().copy(query) as copy:
        text = b"".join(bytes(block) for block in copy)
    return text.splitlines(keepends=True)


def raw_copy(stage: Stage, database: str, *, lines: list[bytes], batch: int, seconds: float) -> float:
    """Events a second by COPY into the event table, one durable commit every `batch` events, one connection."""
    chunks = [b"".join(lines[start : start + batch]) for start in range(0, len(lines), batch)]
    copied = 0
    with psycopg.connect(stage.database_url(database)) as connection:
        begin = time.perf_counter()
        for number, chunk in enumerate(chunks):
            with connection.cursor().copy(COPY_EVENTS) as copy:
                copy.write(chunk)
            connection.commit()
            copied = min((number + 1) * batch, len(lines))
            if time.perf_counter() - begin > seconds:
                break
        took_s = time.perf_counter() - begin
        assert _number(connection, b"SELECT count(*) FROM event WHERE slot < 16") == copied
    return copied / took_s


def recorder_inserts(stage: Stage, database: str, *, lines: list[bytes], batch: int, seconds: float) -> float:
    """Events a second by eventsourcing's `insert_events`, `batch` events each, with the bytes of `data` as its state.

    Raises YardstickMissing where the package cannot run.
    """
    python = interpreter("3.11")
    path = stage.folder / "events.jsonl"
    with path.open("w") as file:
        for line in lines:
            # COPY text: slot, offset, stream, version, type, data; only backslashes are escaped in what is JSON.
            _, _, stream, version, name, data = line.decode().split("\t")[:6]
            file.write(json.dumps([stream, int(version), name, data.replace("\\\\", "\\")]) + "\n")
    found = contestant(
        str(python),
        "eventsourcing_recorder",
        stage.database_url(database),
        str(path),
        str(batch),
        str(seconds),
    )
    with stage.connect(database) as connection:
        assert _number(connection, b"SELECT count(*) FROM stored_events") == found["stored"]
    return float(found["stored"] / found["seconds"])


def durable_commits(stage: Stage, database: str, *, seconds: float) -> float:
    """Commits a second of a one-row insert, one after the other from one client."""
    with stage.connect(database) as connection:
        connection.execute("CREATE TABLE bench_commit (number bigint PRIMARY KEY)")
        number = 0
        begin = time.perf_counter()
        while time.perf_counter() - begin < seconds:
            number += 1
            connection.execute("INSERT INTO bench_commit VALUES (%s)", [number], prepare=True)
        took_s = time.perf_counter() - begin
        assert _number(connection, b"SELECT count(*) FROM bench_commit") == number
    return number / took_s


def _number(connection: psycopg.Connection[Any], query: bytes) -> int:
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])
