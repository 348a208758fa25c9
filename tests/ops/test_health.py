"""The probes: what they say when all is well, and that they tell it when it is not."""

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import OperationalError, connection
from django.test import Client

from ops import health
from trading.eventlog.partitions import make_partitions
from trading.ids import new_id
from trading.jobs.queues import QUEUES, beat
from trading.outside.breaker import Breaker
from trading.wire import FRAME_FIELD, command_stream

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _queues_are_alive() -> None:
    for queue in QUEUES:
        beat(queue)


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=True)


@pytest.fixture
def valkey() -> Iterator[redis.Redis]:
    with redis.Redis.from_url(settings.VALKEY_URL) as found:
        yield found
        found.delete(*(command_stream(slot) for slot in range(16)))


def read(client: Client, path: str) -> tuple[int, Any]:
    answer = client.get(path)
    return answer.status_code, json.loads(answer.content)


def own_every_slot() -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO shard (shard_id, state) VALUES ('here:1', 'running')")
        cursor.execute("UPDATE slot SET owner = 'here:1', epoch = 3 WHERE kind = 'market'")


def append_events(slot: int, count: int, *, age_s: float) -> None:
    """Rows that look like events, the newest `age_s` old."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT next_offset FROM slot WHERE slot = %s", [slot])
        first = cursor.fetchone()[0]
        recorded_at = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=age_s)
        for offset in range(first, first + count):
            cursor.execute(
                "INSERT INTO event (slot, slot_offset, stream_id, version, type, data, metadata, hash, recorded_at)"
                " VALUES (%s, %s, %s, 1, 'market_opened/1', '{}', '{}', '', %s)",
                [slot, offset, new_id(), recorded_at],
            )
        cursor.execute("UPDATE slot SET next_offset = %s WHERE slot = %s", [first + count, slot])


def follow(projection: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO projection_checkpoint (projection, slot) SELECT %s, slot FROM slot", [projection]
        )


def test_alive_needs_nothing(client: Client, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert read(client, "/health") == (200, {"status": "ok"})


def test_ready_when_database_migrations_and_valkey_are_there(client: Client) -> None:
    checks = {"database": "ok", "migrations": "ok", "valkey": "ok"}
    assert read(client, "/health/ready") == (200, {"status": "ok", "checks": checks})


def test_not_ready_without_valkey_and_no_address_is_told(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "VALKEY_URL", "redis://:secret@127.0.0.1:1/0")
    status, report = read(client, "/health/ready")
    assert (status, report["status"], report["checks"]["valkey"]) == (503, "degraded", "ConnectionError")
    assert "secret" not in json.dumps(report)


def test_not_ready_while_a_migration_is_missing(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_applied", False)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'ops'")
    status, report = read(client, "/health/ready")
    assert (status, report["checks"]["migrations"]) == (503, "MigrationsMissing")


def test_deep_counts_the_events_of_the_last_minute_and_times_each_dependency(client: Client) -> None:
    append_events(2, 5, age_s=90)
    append_events(3, 4, age_s=1)
    status, report = read(client, "/health/deep")
    assert (status, report["status"], report["events_last_60s"]) == (200, "ok", 4)
    for name in ("database", "valkey"):
        assert report["dependencies"][name]["status"] == "ok"
        assert report["dependencies"][name]["latency_ms"] >= 0


def test_deep_and_the_metrics_count_the_services_that_are_left_alone(client: Client) -> None:
    before = read(client, "/health/deep")[1]["breakers_open"]
    breakers = [Breaker("mail"), Breaker("webhook:a.example:443"), Breaker("webhook:b.example:443")]
    for breaker in breakers:
        for _ in range(5):
            breaker.failed()
    status, report = read(client, "/health/deep")
    assert (status, report["breakers_open"]) == (200, {"mail": 1, "webhook": before["webhook"] + 2})
    assert 'exchange_breakers_open{kind="mail"} 1.0' in client.get("/metrics").content.decode()
    assert "example" not in str(report)
    for breaker in breakers:
        breaker.succeeded()
    assert read(client, "/health/deep")[1]["breakers_open"] == before


def test_deep_reads_neither_earlier_months_nor_all_of_this_one() -> None:
    now = dt.datetime.now(dt.UTC)
    earlier = now - dt.timedelta(days=70)
    with connection.cursor() as cursor:
        for day in (earlier, now - dt.timedelta(days=1)):
            make_partitions(cursor, months_ahead=0, today=day)
        cursor.execute(
            "INSERT INTO event (slot, slot_offset, stream_id, version, type, data, metadata, hash, recorded_at) "
            "SELECT 0, n, gen_random_uuid(), 1, 'market_opened/1', '{}', '{}', '', "
            "now() - interval '20 hours' + n * interval '3 seconds' FROM generate_series(0, 20000) AS n"
        )
        cursor.execute("ANALYZE event")
        cursor.execute(f"EXPLAIN {health.EVENTS_LAST_60S}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert f"event_{earlier:%Y_%m}" not in plan
    assert f"Seq Scan on event_{now:%Y_%m} " not in plan, plan


def test_deep_is_degraded_by_a_projection_that_falls_behind(client: Client) -> None:
    follow("orders")
    append_events(3, 2, age_s=1)
    status, report = read(client, "/health/deep")
    assert (status, report["projections"]["orders"]["events"]) == (200, 2)
    append_events(4, 3, age_s=health.PROJECTION_LAG_LIMIT_S + 5)
    status, report = read(client, "/health/deep")
    assert (status, report["status"], report["projections"]["orders"]["events"]) == (503, "degraded", 5)
    assert report["projections"]["orders"]["seconds"] > health.PROJECTION_LAG_LIMIT_S


def test_deep_without_a_database_is_degraded_and_answers(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any) -> None:
        raise OperationalError("connection to server at 10.1.2.3 failed")

    monkeypatch.setattr(health, "_ping_database", gone)
    monkeypatch.setattr(health, "_rows", gone)
    status, report = read(client, "/health/deep")
    assert (status, report["status"], report["events_last_60s"]) == (503, "degraded", None)
    assert report["dependencies"]["database"]["status"] == "OperationalError"
    assert "10.1.2.3" not in json.dumps(report)


def test_matching_names_owner_epoch_offset_and_the_commands_that_wait(
    client: Client, valkey: redis.Redis
) -> None:
    own_every_slot()
    append_events(5, 7, age_s=1)
    done = valkey.xadd(command_stream(5), {FRAME_FIELD: b"not a frame: counts as one"})
    with connection.cursor() as cursor:
        cursor.execute("UPDATE slot SET command_offset = %s WHERE slot = 5", [done.decode()])
    for _ in range(3):
        valkey.xadd(command_stream(5), {FRAME_FIELD: b"?"})
    valkey.xadd(command_stream(5), {b"noop": b""})
    status, report = read(client, "/matching/health")
    assert (status, report["status"], len(report["slots"])) == (200, "ok", 16)
    assert report["slots"][5] == {
        "slot": 5, "owner": "here:1", "epoch": 3, "offset": 7, "lag": 3, "alive": True,
    }  # fmt: skip


def test_matching_is_degraded_when_a_slot_has_no_owner_or_a_silent_one(client: Client) -> None:
    assert read(client, "/matching/health")[0] == 503
    own_every_slot()
    assert read(client, "/matching/health")[0] == 200
    with connection.cursor() as cursor:
        cursor.execute("UPDATE shard SET heartbeat_at = now() - interval '1 minute'")
    status, report = read(client, "/matching/health")
    assert (status, report["status"]) == (503, "degraded")
    assert not any(slot["alive"] for slot in report["slots"])


def test_matching_names_the_processes_that_are_alive(client: Client) -> None:
    own_every_slot()
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO shard (shard_id) VALUES ('there:2')")
        cursor.execute("INSERT INTO shard (shard_id, heartbeat_at) VALUES ('gone:3', now() - interval '6 s')")
    shards = read(client, "/matching/health")[1]["shards"]
    assert {each["shard"]: each["slots"] for each in shards} == {"here:1": 16, "there:2": 0}
    assert all(0 <= each["heartbeat_age_s"] < 5 for each in shards)


def test_metrics_show_the_exchanges_own_figures(client: Client) -> None:
    own_every_slot()
    follow("orders")
    append_events(3, 2, age_s=1)
    text = client.get("/metrics").content.decode()
    assert 'exchange_slot_lag_commands{slot="3"} 0.0' in text
    assert 'exchange_projection_lag_events{projection="orders"} 2.0' in text
    for name in ("exchange_orders_total", "exchange_batch_seconds", "django_http_requests_total"):
        assert f"# TYPE {name.removesuffix('_total')}" in text or f"# TYPE {name}" in text


def test_metrics_count_a_request_by_view_method_and_status(client: Client) -> None:
    counted = 'django_http_responses_total_by_status_view_method_total{method="GET",status="404",view="<unnamed view>"}'

    def count() -> float:
        lines = client.get("/metrics").content.decode().splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(counted)), 0.0)

    before = count()
    client.get("/api/v1/nothing-is-here")
    assert count() == before + 1


@pytest.mark.parametrize("path", ["/health", "/health/ready", "/health/deep", "/matching/health", "/metrics"])
def test_probes_only_read(client: Client, path: str) -> None:
    assert client.post(path).status_code == 405


def test_every_answer_carries_its_request_id(client: Client) -> None:
    assert client.get("/health", headers={"X-Request-ID": "mine.1"})["X-Request-ID"] == "mine.1"
    assert len(client.get("/health", headers={"X-Request-ID": "no good\n"})["X-Request-ID"]) == 36


def test_an_unknown_api_path_is_a_problem_document(client: Client) -> None:
    answer = client.get("/api/v1/nothing/here")
    assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")
    document = json.loads(answer.content)
    assert (document["code"], document["request_id"]) == ("not_found", answer["X-Request-ID"])


def test_exchange_whose_engine_was_killed_is_open_to_nobody(client: Client) -> None:
    own_every_slot()
    assert read(client, "/api/v1/status")[1]["exchange"] == "open"
    with connection.cursor() as cursor:
        # It owns its slots still: nobody has taken them over.
        cursor.execute("UPDATE shard SET heartbeat_at = now() - interval '1 minute'")
    assert read(client, "/api/v1/status")[1]["exchange"] == "degraded"
    assert read(client, "/matching/health")[1]["status"] == "degraded"
