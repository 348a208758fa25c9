"""The undoing of T1: an open batch's cash goes back and its keys are free again."""

from typing import Any

from trading.shard.crash_points import reach


def give_back_batch(connection: Any, batch_id: str) -> None:
    """Undoes one reservation of this process; nothing happens if it is gone. As T1 itself, it waits for no flush."""
    reach("before_give_back")
    with connection.transaction():
        connection.execute("SET LOCAL synchronous_commit = off")
        connection.execute(_GIVE_BACK.format(which="batch_id = %s"), [batch_id])
    reach("after_give_back")


def give_back_slots(connection: Any, slots: list[int]) -> None:
    """Undoes every reservation for these slots, whoever made it."""
    connection.execute(_GIVE_BACK.format(which="slots && %s::smallint[]"), [slots])


_GIVE_BACK = """
WITH gone AS (
    DELETE FROM batch WHERE {which}
    RETURNING accounts, amounts, claim_accounts, claim_keys
), owed AS (
    SELECT account_id, sum(amount) AS amount FROM gone, unnest(accounts, amounts) AS o(account_id, amount) GROUP BY 1
), locked AS MATERIALIZED (
    SELECT account_id FROM cash_account WHERE account_id IN (SELECT account_id FROM owed)
    ORDER BY account_id FOR UPDATE
), unclaimed AS (
    DELETE FROM client_order c USING gone, unnest(claim_accounts, claim_keys) AS k(account_id, key)
    WHERE c.account_id = k.account_id AND c.key = k.key
)
UPDATE cash_account c SET cash_pips = cash_pips + owed.amount
FROM locked JOIN owed USING (account_id) WHERE c.account_id = locked.account_id
"""
