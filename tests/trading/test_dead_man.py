"""The dead-man switch's rows: armed, moved, put away, lapsed once and for all, forgotten after a day."""

from typing import Any

import pytest
from django.db import connection

from trading import dead_man, tasks
from trading.dead_man import Lapse
from trading.errors import InvalidRequest
from trading.ids import new_id
from trading.principal import TRADE, Principal

pytestmark = pytest.mark.django_db
ACCOUNT = new_id()
BOT = Principal(ACCOUNT, 1, "k", frozenset({TRADE}), is_staff=False)
PERSON = Principal(ACCOUNT, 1, None, frozenset({TRADE}), is_staff=False)


def query(sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, arguments)
        return cursor.fetchall() if cursor.description else []


def standing() -> list[tuple[Any, ...]]:
    """(by, reason, whole seconds left), the next one first."""
    return query(
        "SELECT by, reason, ceil(extract(epoch FROM due_at - clock_timestamp()))::int FROM dead_man_switch "
        "WHERE account_id = %s ORDER BY due_at",
        ACCOUNT,
    )


def let_pass(seconds: int) -> None:
    query("UPDATE dead_man_switch SET due_at = due_at - make_interval(secs => %s)", seconds)


def lapsed(since_us: int = 0) -> list[Lapse]:
    connection.ensure_connection()
    return dead_man.lapsed(connection.connection, since_us=since_us)


def test_heartbeat_moves_the_one_switch_of_its_key() -> None:
    assert dead_man.heartbeat(BOT, {"timeout_s": 60})["timeout_s"] == 60
    let_pass(50)
    answer = dead_man.heartbeat(BOT, {"timeout_s": 5})
    assert answer["due_at"].endswith("Z")
    assert standing() == [("key:k", "heartbeat", 5)]
    assert lapsed() == []


def test_sessions_switch_is_for_the_whole_account_and_apart_from_its_keys() -> None:
    dead_man.heartbeat(BOT, {"timeout_s": 300})
    dead_man.heartbeat(PERSON, {"timeout_s": 30})
    dead_man.heartbeat(PERSON, {"timeout_s": 31})
    assert standing() == [(None, "heartbeat", 31), ("key:k", "heartbeat", 300)]
    assert dead_man.heartbeat(PERSON, {"timeout_s": 0}) == {"timeout_s": 0, "due_at": None}
    assert standing() == [("key:k", "heartbeat", 300)]


def test_switch_that_lapsed_stays_lapsed_whatever_its_client_says_then() -> None:
    dead_man.heartbeat(BOT, {"timeout_s": 5})
    let_pass(6)
    (lapse,) = lapsed()
    assert (lapse.account_id, lapse.by, lapse.reason) == (ACCOUNT, "key:k", "heartbeat")
    dead_man.heartbeat(BOT, {"timeout_s": 60})
    dead_man.heartbeat(BOT, {"timeout_s": 0})
    assert lapsed() == [lapse]
    assert lapsed(since_us=lapse.due_us) == [lapse]
    assert lapsed(since_us=lapse.due_us + 1) == []
    assert len(standing()) == 1


def test_lapse_is_shown_for_a_day_and_then_forgotten() -> None:
    dead_man.heartbeat(BOT, {"timeout_s": 5})
    let_pass(24 * 3600)
    assert len(lapsed()) == 1
    assert tasks.forget_old_switches() == 0
    let_pass(6)
    assert lapsed() == []
    assert tasks.forget_old_switches() == 1


def test_connections_switches_are_renewed_until_they_lapse() -> None:
    kept, lost = new_id(), new_id()
    dead_man.watch_connection(lost, account_id=ACCOUNT, by="key:k", timeout_s=30)
    let_pass(31)
    dead_man.watch_connection(kept, account_id=ACCOUNT, by="key:k", timeout_s=10)
    assert dead_man.renew_connections([kept, lost], timeout_s=30) == {kept}
    assert standing()[-1] == ("key:k", "disconnected", 30)
    assert [(lapse.switch_id, lapse.reason) for lapse in lapsed()] == [(lost, "disconnected")]
    # A heartbeat is another promise.
    dead_man.heartbeat(BOT, {"timeout_s": 0})
    assert dead_man.renew_connections([kept], timeout_s=30) == {kept}


def test_connection_that_ended_is_forgotten_or_left_to_the_engines() -> None:
    done, left = new_id(), new_id()
    for switch_id in (done, left):
        dead_man.watch_connection(switch_id, account_id=ACCOUNT, by=None, timeout_s=30)
    dead_man.forget_connection(done)
    dead_man.lapse_connection(left)
    assert [lapse.switch_id for lapse in lapsed()] == [left]
    dead_man.forget_connection(left)
    assert [lapse.switch_id for lapse in lapsed()] == [left]


def lapse_often(times: int, *, clients: int = 1) -> None:
    """So many lapses in the last 24 hours, of clients in turn, the last one a second ago."""
    accounts = [new_id() for _ in range(clients)]
    query(
        "INSERT INTO dead_man_switch (id, account_id, by, reason, due_at) "
        "SELECT gen_random_uuid(), (%s::uuid[])[1 + n %% %s], 'key:k', 'heartbeat', "
        "clock_timestamp() - interval '1 second' - n * (interval '23 hours' / %s) FROM generate_series(0, %s) AS n",
        accounts, clients, times, times - 1,
    )  # fmt: skip


def test_look_at_the_last_lapses_reads_them_by_their_index_however_many_there_are() -> None:
    lapse_often(20_000, clients=500)
    query("ANALYZE dead_man_switch")
    since_us = max(lapse.due_us for lapse in lapsed()) - 60_000_000
    plan = " ".join(line for (line,) in query(f"EXPLAIN {dead_man.LAPSED}", dead_man.KEPT, since_us))
    assert "dead_man_switch_due" in plan
    assert "Seq Scan" not in plan


def test_of_a_client_only_the_last_lapse_is_told_and_the_others_are_forgotten() -> None:
    lapse_often(50, clients=2)
    for body in ({"timeout_s": 5}, {"timeout_s": 300}):
        dead_man.heartbeat(BOT, body)
        let_pass(6)
    dead_man.heartbeat(PERSON, {"timeout_s": 5})
    let_pass(6)
    before = lapsed()
    # Two strangers, the key and the session; the key's second switch is not due.
    assert len(before) == 4
    assert {(lapse.account_id, lapse.by) for lapse in before} >= {(ACCOUNT, "key:k"), (ACCOUNT, None)}
    assert tasks.forget_old_switches() == 48
    assert lapsed() == before
    assert [(by, reason) for by, reason, _ in standing()] == [
        ("key:k", "heartbeat"), (None, "heartbeat"), ("key:k", "heartbeat"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "body", [None, [], {}, {"timeout_s": 4}, {"timeout_s": True}, {"timeout_s": 5, "by": "key:x"}]
)
def test_malformed_heartbeat_arms_nothing(body: Any) -> None:
    with pytest.raises(InvalidRequest):
        dead_man.heartbeat(BOT, body)
    assert standing() == []
