"""The dead-man switch: by when a client must have been heard of again, or his orders are cancelled.

A switch that has lapsed is never moved again and stays a day, or until its client's next one has lapsed: every engine
process finds it (`lapsed`) and cancels in the markets it owns, as often as it likes. A key's switch concerns the
orders placed through that key, a session's (`by` is None) every order of the account.
"""

import datetime as dt
from typing import Any, NamedTuple

from django.db import connection

from trading.errors import InvalidRequest
from trading.eventlog.codec import timestamp_text, to_us
from trading.ids import new_id
from trading.order_request import Fields
from trading.principal import Principal

LEAST_S, MOST_S = 5, 300
KEPT = "1 day"


class Lapse(NamedTuple):
    """A client that was not heard of in time: his orders placed until `due_us` are to be cancelled.

    `by` is `PlaceOrder.by` of the orders meant, or None for all of the account; `reason` is CancelOrders'.
    """

    switch_id: str
    account_id: str
    by: str | None
    due_us: int
    reason: str


def placer(principal: Principal) -> str | None:
    """Whose orders a caller's switch concerns."""
    return principal.actor if principal.key_id is not None else None


def heartbeat(principal: Principal, body: object) -> dict[str, Any]:
    """The request `{timeout_s}` and its answer. Raises InvalidRequest. Blocks."""
    fields = Fields(body, frozenset({"timeout_s"}))
    timeout_s = fields.body.get("timeout_s")
    if type(timeout_s) is not int or not (timeout_s == 0 or LEAST_S <= timeout_s <= MOST_S):
        raise InvalidRequest(
            "The request is malformed.",
            errors={
                **fields.errors,
                "timeout_s": [f"Must be a whole number from {LEAST_S} to {MOST_S}, or 0 to stop."],
            },
        )
    fields.done()
    by = placer(principal)
    if timeout_s == 0:
        disarm(account_id=principal.account_id, by=by)
        return {"timeout_s": 0, "due_at": None}
    due_at = arm(account_id=principal.account_id, by=by, timeout_s=timeout_s)
    return {"timeout_s": timeout_s, "due_at": timestamp_text(to_us(due_at))}


def arm(*, account_id: str, by: str | None, timeout_s: int) -> dt.datetime:
    """The client was heard of; the next time has to be within `timeout_s`. Answers when it lapses else."""
    rows = _run(
        # Two that arm for the first time at once make two switches; each later heartbeat moves both.
        "WITH armed AS (UPDATE dead_man_switch SET due_at = clock_timestamp() + make_interval(secs => %(timeout_s)s) "
        "WHERE account_id = %(account_id)s AND by IS NOT DISTINCT FROM %(by)s::text AND reason = 'heartbeat' "
        "AND due_at > clock_timestamp() RETURNING due_at), "
        "fresh AS (INSERT INTO dead_man_switch (id, account_id, by, reason, due_at) "
        "SELECT %(id)s, %(account_id)s, %(by)s, 'heartbeat', clock_timestamp() + make_interval(secs => %(timeout_s)s) "
        "WHERE NOT EXISTS (SELECT FROM armed) RETURNING due_at) "
        "SELECT due_at FROM armed UNION ALL SELECT due_at FROM fresh",
        {"id": new_id(), "account_id": account_id, "by": by, "timeout_s": timeout_s},
    )
    due_at: dt.datetime = rows[0][0]
    return due_at


def disarm(*, account_id: str, by: str | None) -> None:
    """No heartbeat is expected any more. What has lapsed stays lapsed."""
    _run(
        "DELETE FROM dead_man_switch WHERE account_id = %s AND by IS NOT DISTINCT FROM %s::text "
        "AND reason = 'heartbeat' AND due_at > clock_timestamp()",
        [account_id, by],
    )


def watch_connection(switch_id: str, *, account_id: str, by: str | None, timeout_s: int) -> None:
    """A connection whose end ends its orders: its process renews the switch as long as both live."""
    _run(
        "INSERT INTO dead_man_switch (id, account_id, by, reason, due_at) "
        "VALUES (%s, %s, %s, 'disconnected', clock_timestamp() + make_interval(secs => %s))",
        [switch_id, account_id, by, timeout_s],
    )


def renew_connections(switch_ids: list[str], *, timeout_s: int) -> set[str]:
    """Those of the connections' switches that have not lapsed, renewed."""
    rows = _run(
        "UPDATE dead_man_switch SET due_at = clock_timestamp() + make_interval(secs => %s) "
        "WHERE id = ANY(%s::uuid[]) AND due_at > clock_timestamp() RETURNING id::text",
        [timeout_s, switch_ids],
    )
    return {switch_id for (switch_id,) in rows}


def forget_connection(switch_id: str) -> None:
    """The connection's orders are cancelled, or need not be."""
    _run("DELETE FROM dead_man_switch WHERE id = %s AND due_at > clock_timestamp()", [switch_id])


def lapse_connection(switch_id: str) -> None:
    """Leaves a connection's orders to the engines, at once."""
    _run(
        "UPDATE dead_man_switch SET due_at = clock_timestamp() WHERE id = %s AND due_at > clock_timestamp()",
        [switch_id],
    )


LAPSED = """
SELECT id::text, account_id::text, by, (extract(epoch FROM due_at) * 1000000)::bigint, reason FROM (
    SELECT DISTINCT ON (account_id, by) id, account_id, by, due_at, reason FROM dead_man_switch
    WHERE due_at <= statement_timestamp()
        AND due_at >= greatest(statement_timestamp() - %s::interval, to_timestamp(%s / 1000000.0))
    ORDER BY account_id, by, due_at DESC, id DESC
) AS newest ORDER BY due_at, id
"""
# statement_timestamp() is the same throughout a statement: bounds by clock_timestamp() could use no index.


def lapsed(connection: Any, *, since_us: int = 0) -> list[Lapse]:
    """What has lapsed within a day, or since a moment in µs, oldest first; on a psycopg connection, by an index.

    Of each client only his last lapse: it concerns every order that one before it does. A caller
    that remembers where it was still asks for some seconds more: a row may become visible late.
    """
    return [Lapse(*row) for row in connection.execute(LAPSED, [KEPT, since_us]).fetchall()]


def forget_old() -> int:
    """Deletes what lapsed more than a day ago or was followed by a lapse of the same client; answers how many
    there were."""
    rows = _run(
        "WITH ranked AS (SELECT id, due_at, "
        "row_number() OVER (PARTITION BY account_id, by ORDER BY due_at DESC, id DESC) AS place "
        "FROM dead_man_switch WHERE due_at <= statement_timestamp()), "
        "gone AS (DELETE FROM dead_man_switch s USING ranked WHERE s.id = ranked.id "
        "AND (place > 1 OR ranked.due_at < statement_timestamp() - %s::interval) RETURNING s.id) "
        "SELECT count(*) FROM gone",
        [KEPT],
    )
    number: int = rows[0][0]
    return number


def _run(sql: str, arguments: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, arguments)
        return cursor.fetchall() if cursor.description else []
