"""T1: claims the commands' keys and takes the cash they may need, in one statement and without fsync.

Nothing is acknowledged before T2, whose flush carries T1's record with it. Everything taken
stands in one `batch` row, so whoever finds the row can give it all back.
"""

from collections.abc import Collection
from typing import Any, NamedTuple

import msgspec

from trading.array_literals import array_of, bytea, quoted
from trading.engine.commands import PlaceOrder
from trading.ids import new_id
from trading.shard.crash_points import reach
from trading.shard.faults import ClaimGone, SlotLost
from trading.shard.slots import OwnedSlot
from trading.wire import Envelope


class Claim(msgspec.Struct, frozen=True, gc=False):
    """A command's key, for ever: the same key never executes twice."""

    account_id: str
    key: str
    command_hash: bytes
    order_id: str | None
    market_id: str


def claim_of(envelope: Envelope) -> Claim:
    """The key of a command in its envelope."""
    command = envelope.command
    order_id = command.order_id if isinstance(command, PlaceOrder) else None
    return Claim(envelope.account_id, envelope.key, envelope.command_hash, order_id, command.market_id)


class Reservation(NamedTuple):
    """What T1 took: cash by account, and the keys that were new; and each account's last cancel-all, if it had one."""

    batch_id: str
    granted: dict[str, int]
    claimed: set[tuple[str, str]]
    fences: dict[str, str]


def reserve(
    connection: Any, *, slots: list[OwnedSlot], claims: list[Claim], needs: dict[str, int]
) -> Reservation:
    """Runs T1. Raises SlotLost where a slot has another epoch; then nothing was done.

    Slots, claims and cash rows are locked in order, so that neither batches of different shards nor a commit that
    runs meanwhile ever deadlock with it. An account that has less than it needs gives what it has; one without a
    cash row gives 0.
    """
    reach("before_reserve")
    batch_id = new_id()
    claims = sorted(claims, key=lambda c: (c.account_id, c.key))
    row = connection.execute(
        _RESERVE,
        {
            "batch": batch_id,
            "slots": array_of(s.slot for s in slots),
            "epochs": array_of(s.epoch for s in slots),
            "accounts": array_of(c.account_id for c in claims),
            "keys": array_of(quoted(c.key) for c in claims),
            "hashes": array_of(bytea(c.command_hash) for c in claims),
            "orders": array_of(c.order_id or "NULL" for c in claims),
            "markets": array_of(c.market_id for c in claims),
            "needy": array_of(needs),
            "needs": array_of(needs.values()),
        },
    ).fetchone()
    reach("after_reserve")
    if row is None:
        raise SlotLost(f"one of slots {[s.slot for s in slots]} has another owner")
    accounts, amounts, claim_accounts, claim_keys, fences, _ = row
    return Reservation(
        batch_id, dict(zip(accounts, amounts, strict=True)), set(zip(claim_accounts, claim_keys, strict=True)),
        {account_id: fence for account_id, fence in zip(accounts, fences, strict=True) if fence is not None},
    )  # fmt: skip


def is_contended(connection: Any, account_ids: Collection[str], *, own_slots: Collection[int]) -> bool:
    """Whether accounts that have just given all they had may have more: another shard's batch holds cash of theirs,
    or did a moment ago."""
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM batch, unnest(accounts, amounts) AS held(account_id, amount) "
        "WHERE NOT slots && %(own)s::smallint[] AND held.account_id = ANY(%(accounts)s::uuid[]) AND amount > 0) "
        "OR EXISTS (SELECT FROM cash_account WHERE account_id = ANY(%(accounts)s::uuid[]) AND cash_pips > 0)",
        {"own": array_of(own_slots), "accounts": array_of(account_ids)},
    ).fetchone()
    return bool(row[0])


class Stored(NamedTuple):
    """What is stored of a key that was claimed before."""

    order_id: str | None
    market_id: str
    is_same: bool
    refusal: str | None


def stored_claim(connection: Any, claim: Claim) -> Stored:
    """The command that a key was claimed for, and whether it is the same as this one.

    Raises ClaimGone where that batch was given back in between; the next attempt claims the key.
    """
    row = connection.execute(
        "SELECT order_id::text, market_id::text, command_hash = %s, refusal FROM client_order "
        "WHERE account_id = %s AND key = %s",
        [claim.command_hash, claim.account_id, claim.key],
    ).fetchone()
    if row is None:
        raise ClaimGone(f"the key {claim.key} was given back")
    return Stored(*row)


_RESERVE = """
WITH mine AS MATERIALIZED (
    SELECT slot.slot FROM slot JOIN unnest(%(slots)s::smallint[], %(epochs)s::bigint[]) AS m(slot, epoch)
        ON slot.slot = m.slot AND slot.epoch = m.epoch ORDER BY slot.slot FOR SHARE OF slot
), held AS MATERIALIZED (
    SELECT count(*) = cardinality(%(slots)s::smallint[]) AS all_mine FROM mine
), claimed AS (
    INSERT INTO client_order (account_id, key, command_hash, order_id, market_id)
    SELECT c.* FROM unnest(%(accounts)s::uuid[], %(keys)s::text[], %(hashes)s::bytea[], %(orders)s::uuid[],
                           %(markets)s::uuid[]) AS c
    WHERE (SELECT all_mine FROM held)
    ON CONFLICT DO NOTHING RETURNING account_id, key
), need AS (
    SELECT * FROM unnest(%(needy)s::uuid[], %(needs)s::bigint[]) AS n(account_id, need_pips)
), locked AS MATERIALIZED (
    SELECT account_id FROM cash_account
    WHERE account_id = ANY(%(needy)s::uuid[]) AND (SELECT all_mine FROM held)
        AND (SELECT count(*) FROM claimed) >= 0 -- keys before cash, as every other writer does
    ORDER BY account_id FOR UPDATE
), taken AS (
    UPDATE cash_account c SET cash_pips = c.cash_pips - least(c.cash_pips, need.need_pips)
    FROM locked JOIN need USING (account_id) WHERE c.account_id = locked.account_id
    RETURNING c.account_id, old.cash_pips - new.cash_pips AS amount, c.fence
)
INSERT INTO batch (batch_id, slots, epochs, accounts, amounts, claim_accounts, claim_keys)
SELECT %(batch)s, %(slots)s::smallint[], %(epochs)s::bigint[],
       ARRAY(SELECT account_id FROM taken ORDER BY account_id), ARRAY(SELECT amount FROM taken ORDER BY account_id),
       ARRAY(SELECT account_id FROM claimed ORDER BY account_id, key),
       ARRAY(SELECT key FROM claimed ORDER BY account_id, key)
WHERE (SELECT all_mine FROM held)
RETURNING accounts::text[], amounts, claim_accounts::text[], claim_keys,
          ARRAY(SELECT fence::text FROM taken ORDER BY account_id),
          set_config('synchronous_commit', 'off', true)
"""
