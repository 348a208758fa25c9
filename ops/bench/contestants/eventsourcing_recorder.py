"""The recorder of the PyPI package eventsourcing, which stores events in PostgreSQL.

Arguments: a libpq URL, a file of events (a line of JSON each: stream, version, type, data), the size of a batch and
seconds. Answers one line of JSON: events stored and the seconds that took.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any
from uuid import UUID

from eventsourcing.persistence import StoredEvent  # type: ignore[import-not-found]
from eventsourcing.postgres import (  # type: ignore[import-not-found]
    PostgresApplicationRecorder,
    PostgresDatastore,
)
from psycopg.conninfo import conninfo_to_dict


def main(url: str, path: str, batch: int, seconds: float) -> None:
    events = [
        StoredEvent(UUID(stream), version, name, data.encode())
        for stream, version, name, data in map(json.loads, Path(path).read_text().splitlines())
    ]
    place: dict[str, Any] = conninfo_to_dict(url)
    datastore = PostgresDatastore(
        place["dbname"], place["host"], place["port"], place["user"], place["password"], pool_open_timeout=10
    )
    recorder = PostgresApplicationRecorder(datastore)
    recorder.create_table()
    stored, begin = 0, time.perf_counter()
    for start in range(0, len(events), batch):
        stored += len(recorder.insert_events(events[start : start + batch]))
        if time.perf_counter() - begin > seconds:
            break
    took_s = time.perf_counter() - begin
    datastore.close()
    sys.stdout.write(json.dumps({"stored": stored, "seconds": took_s}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
