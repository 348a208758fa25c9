"""`manage.py slots`: who owns what, and who would."""

import re
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from trading.shard.placement import placement

pytestmark = pytest.mark.django_db
FIRST, SECOND = "here:1:a", "there:2:b"


def own(shard_id: str, slots: Any = range(16), *, age_s: int = 0) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO shard (shard_id, state, heartbeat_at, started_at) VALUES (%s, 'running', "
            "now() - make_interval(secs => %s), clock_timestamp()) "
            "ON CONFLICT (shard_id) DO UPDATE SET heartbeat_at = excluded.heartbeat_at",
            [shard_id, age_s],
        )
        cursor.execute(
            "UPDATE slot SET owner = %s, epoch = epoch + 1 WHERE slot = ANY(%s)", [shard_id, list(slots)]
        )


def run(*arguments: str) -> list[str]:
    out = StringIO()
    call_command("slots", *arguments, stdout=out)
    return out.getvalue().splitlines()


def test_each_slot_is_shown_with_its_owner() -> None:
    own(FIRST)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE slot SET next_offset = 77 WHERE slot = 3")
    head, *rows, last = run()
    assert head.split() == ["slot", "owner", "epoch", "markets", "offset", "lag"]
    assert len(rows) == 16
    assert rows[3].split() == ["3", FIRST, "1", "0", "77", "0"]
    assert last == "engine processes alive: 1"


def test_slot_without_a_living_owner_fails() -> None:
    own(FIRST)
    own(SECOND, [4, 9], age_s=6)
    with pytest.raises(CommandError, match="without a living owner: slots 4, 9"):
        run()


def test_plan_for_a_second_process_moves_half_and_changes_nothing() -> None:
    own(FIRST)
    head, *moves, summary, _ = run("--plan", "2")
    assert head.split() == ["slot", "from", "to"]
    assert {(row.split()[1], row.split()[2]) for row in moves} == {(FIRST, "new-1")}
    assert len(moves) == 8
    assert summary == f"8 of 16 slots would move; then: {FIRST} 8, new-1 8"
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM slot WHERE owner = %s", [FIRST])
        assert cursor.fetchone() == (16,)


def test_plan_for_fewer_lets_the_youngest_go_and_moves_only_what_it_had() -> None:
    plan = placement(range(16), [FIRST, SECOND])
    for shard_id in (FIRST, SECOND):
        own(shard_id, [slot for slot, owner in plan.items() if owner == shard_id])
    assert run("--plan", "2")[-1] == f"0 of 16 slots would move; then: {FIRST} 8, {SECOND} 8"
    _, *moves, summary = run("--plan", "1")
    assert {re.split(r"\s+", row)[1] for row in moves} == {SECOND}
    assert summary == f"8 of 16 slots would move; then: {FIRST} 16"


def test_plan_for_nobody_is_refused() -> None:
    with pytest.raises(CommandError, match="at least 1"):
        run("--plan", "0")
