"""The shard's SQL, statement by statement, as changes of tables in memory.

A statement is known by its very text: one that the shard has changed is unknown here, and an error, until what it means
has been written down again. tests/simulation/test_fake_database.py compares these meanings with PostgreSQL's.
"""

import datetime as dt
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import psycopg

from tests.simulation.tables import BatchRow, ClaimRow, Conflict, EventRecord, Key, Tables
from trading import dead_man
from trading.ids import MARKET_SLOTS
from trading.shard import commit, give_back, reserve, slots
from trading.snapshots import reach

Rows = list[tuple[Any, ...]]
Change = Callable[[], object]


class Meaning(NamedTuple):
    """What a statement locks, and what it does: rows to answer, and a change that comes with the commit."""

    locks: Callable[[Tables, Any], list[Key]]
    run: Callable[[Tables, Any, Any], tuple[Rows, Change | None]]
    is_durable: bool = False  # outside a transaction its commit waits for the disk


STATEMENTS: dict[str, Meaning] = {}
_found: dict[str, Meaning] = {}


def meaning_of(sql: str) -> Meaning:
    """Raises KeyError for a statement that is not known."""
    known = _found.get(sql)
    if known is None:
        known = _found[sql] = STATEMENTS[_normal(sql)]
    return known


def _normal(sql: str) -> str:
    return " ".join(sql.split())


def _nothing(tables: Tables, args: Any) -> list[Key]:
    return []


def _means(sql: str, *, locks: Any = _nothing, is_durable: bool = False) -> Any:
    def register(run: Any) -> Any:
        STATEMENTS[_normal(sql)] = Meaning(locks, run, is_durable)
        return run

    return register


# --- Array literals -------------------------------------------------------------------------------

_json = msgspec.json.Decoder(list[str]).decode


def _plain(array: Any) -> list[Any]:
    """Elements without quotes; lists are taken as they are."""
    if type(array) is not str:
        return list(array)
    return [None if e == "NULL" else e for e in array[1:-1].split(",")] if len(array) > 2 else []


def _ints(array: Any) -> list[int]:
    return [int(e) for e in _plain(array)]


def _quoted(array: str) -> list[str]:
    """All of them quoted: then the literal is JSON but for its braces."""
    return _json("[" + array[1:-1] + "]")


def _bytes(array: str) -> list[bytes]:
    return [bytes.fromhex(e[2:]) for e in _quoted(array)]


@functools.lru_cache(maxsize=64)
def us_of(text: str) -> int:
    """Microseconds of a timestamp as the log writes it."""
    return (dt.datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND


_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)

# --- Sessions and shards --------------------------------------------------------------------------


@_means("SELECT set_config('application_name', %s, false)")
def _name(tables: Tables, session: Any, args: Any) -> Any:
    session.name = args[0].encode()[:63].decode()
    return [(args[0],)], None


@_means("SET plan_cache_mode = force_generic_plan")
@_means("SET LOCAL synchronous_commit = off")
def _set(tables: Tables, session: Any, args: Any) -> Any:
    return [], None


@_means(
    "INSERT INTO shard (shard_id, state) VALUES (%s, %s) "
    "ON CONFLICT (shard_id) DO UPDATE SET heartbeat_at = now(), state = excluded.state"
)
def _heartbeat(tables: Tables, session: Any, args: Any) -> Any:
    shard_id, state = args
    now_us = tables.clock_us()
    return [], lambda: tables.shards.__setitem__(shard_id, (now_us, state))


@_means(dead_man.LAPSED)
def _lapsed(tables: Tables, session: Any, args: Any) -> Any:
    """Nobody here has a switch."""
    return [], None


@_means(reach.OUT_OF_REACH)
def _out_of_reach(tables: Tables, session: Any, args: Any) -> Any:
    """Nothing here is archived."""
    return [], None


@_means("DELETE FROM shard WHERE shard_id = %s")
def _forget_shard(tables: Tables, session: Any, args: Any) -> Any:
    return [], lambda: tables.shards.pop(args[0], None)


@_means(
    "DELETE FROM shard WHERE heartbeat_at < now() - interval '1 hour' "
    "AND NOT EXISTS (SELECT FROM slot WHERE owner = shard_id)"
)
def _forget_dead(tables: Tables, session: Any, args: Any) -> Any:
    before = tables.clock_us() - 3_600_000_000
    owners = {row.owner for row in tables.slots}
    gone = [s for s, (at_us, _) in tables.shards.items() if at_us < before and s not in owners]
    return [], lambda: [tables.shards.pop(s, None) for s in gone]


@_means(
    "SELECT slot.slot, slot.owner, slot.epoch, "
    "(SELECT array_agg(shard_id) FROM shard WHERE heartbeat_at > now() - make_interval(secs => %s)) "
    "FROM slot WHERE kind = 'market'"
)
def _roster(tables: Tables, session: Any, args: Any) -> Any:
    live = tables.live_shards(args[0]) or None
    return [(n, row.owner, row.epoch, live) for n, row in enumerate(tables.slots[:MARKET_SLOTS])], None


@_means(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE application_name = ANY(%s) AND datname = current_database() AND pid <> pg_backend_pid()"
)
def _terminate(tables: Tables, session: Any, args: Any) -> Any:
    for other in list(tables.sessions):
        if other is not session and other.name in args[0]:
            other.terminate()
    return [], None


# --- Slots ----------------------------------------------------------------------------------------


def _slot_keys(slots_: list[int]) -> list[Key]:
    return [("slot", slot) for slot in slots_]


@_means(
    "SELECT FROM slot WHERE slot = ANY(%s) ORDER BY slot FOR UPDATE",
    locks=lambda tables, args: _slot_keys(args[0]),
)
def _lock_slots(tables: Tables, session: Any, args: Any) -> Any:
    return [() for _ in args[0]], None


@_means(
    "UPDATE slot SET epoch = epoch + 1, owner = %s WHERE slot = ANY(%s) "
    "RETURNING slot, epoch, next_offset, command_offset, (extract(epoch FROM recorded_at) * 1000000)::bigint",
    locks=lambda tables, args: _slot_keys(args[1]),
)
def _take(tables: Tables, session: Any, args: Any) -> Any:
    owner, wanted = args
    rows = [(n, tables.slots[n]) for n in wanted]

    def change() -> None:
        for _, row in rows:
            row.epoch += 1
            row.owner = owner

    return [
        (n, row.epoch + 1, row.next_offset, row.command_offset, row.recorded_us) for n, row in rows
    ], change


def _free(tables: Tables, chosen: list[int]) -> Any:
    def change() -> None:
        for slot in chosen:
            tables.slots[slot].owner = None

    return [], change


def _owned_by(tables: Tables, owner: str) -> list[int]:
    return [slot for slot, row in enumerate(tables.slots) if row.owner == owner]


@_means(
    slots._FREE.format(which="SELECT slot FROM slot WHERE owner = %s"),
    locks=lambda tables, args: _slot_keys(_owned_by(tables, args[0])),
)
def _free_all(tables: Tables, session: Any, args: Any) -> Any:
    return _free(tables, _owned_by(tables, args[0]))


@_means(
    slots._FREE.format(
        which="SELECT slot.slot FROM slot JOIN unnest(%s::smallint[], %s::bigint[]) AS m(slot, epoch) "
        "ON slot.slot = m.slot AND slot.epoch = m.epoch WHERE slot.owner = %s"
    ),
    locks=lambda tables, args: _slot_keys(args[0]),
)
def _let_go(tables: Tables, session: Any, args: Any) -> Any:
    numbers, epochs, owner = args
    return _free(
        tables,
        [
            n
            for n, epoch in zip(numbers, epochs, strict=True)
            if tables.slots[n].owner == owner and tables.slots[n].epoch == epoch
        ],
    )


# --- T1 and its undoing ---------------------------------------------------------------------------


def _reserve_keys(tables: Tables, args: Any) -> list[Key]:
    keys = _slot_keys(_ints(args["slots"]))
    keys += [("cash", account) for account in _plain(args["needy"])]
    keys += [("claim", *claim) for claim in zip(_plain(args["accounts"]), _quoted(args["keys"]), strict=True)]
    return keys


@_means(reserve._RESERVE, locks=_reserve_keys)
def _reserve(tables: Tables, session: Any, args: Any) -> Any:
    numbers, epochs = _ints(args["slots"]), _ints(args["epochs"])
    if tables.checks_epochs and any(
        tables.slots[n].epoch != epoch for n, epoch in zip(numbers, epochs, strict=True)
    ):
        return [], None
    claimed: dict[tuple[str, str], ClaimRow] = {}
    for account, key, digest, order_id, market_id in zip(
        _plain(args["accounts"]), _quoted(args["keys"]), _bytes(args["hashes"]), _plain(args["orders"]),
        _plain(args["markets"]), strict=True,
    ):  # fmt: skip
        if (account, key) not in tables.claims and (account, key) not in claimed:
            claimed[account, key] = ClaimRow(digest, order_id, market_id)
    needs = dict(zip(_plain(args["needy"]), _ints(args["needs"]), strict=True))
    taken = sorted(
        (account, min(tables.cash[account].cash_pips, need))
        for account, need in needs.items()
        if account in tables.cash
    )
    accounts, amounts = [account for account, _ in taken], [amount for _, amount in taken]
    claims = sorted(claimed)

    def change() -> None:
        tables.claims.update(claimed)
        for account, amount in taken:
            tables.cash[account].cash_pips -= amount
        tables.batches[args["batch"]] = BatchRow(numbers, epochs, accounts, amounts, claims)

    fences = [tables.cash[account].fence for account in accounts]
    return [
        (accounts, amounts, [account for account, _ in claims], [key for _, key in claims], fences, "off")
    ], change


@_means(
    "SELECT EXISTS (SELECT FROM batch, unnest(accounts, amounts) AS held(account_id, amount) "
    "WHERE NOT slots && %(own)s::smallint[] AND held.account_id = ANY(%(accounts)s::uuid[]) AND amount > 0) "
    "OR EXISTS (SELECT FROM cash_account WHERE account_id = ANY(%(accounts)s::uuid[]) AND cash_pips > 0)"
)
def _is_contended(tables: Tables, session: Any, args: Any) -> Any:
    own, accounts = set(_ints(args["own"])), set(_plain(args["accounts"]))
    found = any(
        account in accounts and amount > 0
        for batch in tables.batches.values()
        if not own.intersection(batch.slots)
        for account, amount in zip(batch.accounts, batch.amounts, strict=True)
    )
    found = found or any(a in tables.cash and tables.cash[a].cash_pips > 0 for a in accounts)
    return [(found,)], None


@_means(
    "SELECT order_id::text, market_id::text, command_hash = %s, refusal FROM client_order "
    "WHERE account_id = %s AND key = %s"
)
def _stored_claim(tables: Tables, session: Any, args: Any) -> Any:
    digest, account, key = args
    row = tables.claims.get((account, key))
    return ([(row.order_id, row.market_id, row.command_hash == digest, row.refusal)] if row else []), None


def _gone_keys(tables: Tables, batch_ids: list[str]) -> list[Key]:
    keys: list[Key] = []
    for batch_id in batch_ids:
        batch = tables.batches[batch_id]
        keys.append(("batch", batch_id))
        keys += [("cash", account) for account in batch.accounts]
        keys += [("claim", *claim) for claim in batch.claims]
    return keys


def _give_back(tables: Tables, batch_ids: list[str]) -> Any:
    def change() -> None:
        for batch_id in batch_ids:
            batch = tables.batches.pop(batch_id)
            for account, amount in zip(batch.accounts, batch.amounts, strict=True):
                tables.cash[account].cash_pips += amount
            for claim in batch.claims:
                tables.claims.pop(claim, None)

    return [], change


def _of_id(tables: Tables, args: Any) -> list[str]:
    return [args[0]] if args[0] in tables.batches else []


def _of_slots(tables: Tables, args: Any) -> list[str]:
    wanted = set(args[0])
    return [batch_id for batch_id, batch in tables.batches.items() if wanted.intersection(batch.slots)]


@_means(
    give_back._GIVE_BACK.format(which="batch_id = %s"),
    locks=lambda tables, args: _gone_keys(tables, _of_id(tables, args)),
)
def _give_back_one(tables: Tables, session: Any, args: Any) -> Any:
    return _give_back(tables, _of_id(tables, args))


@_means(
    give_back._GIVE_BACK.format(which="slots && %s::smallint[]"),
    locks=lambda tables, args: _gone_keys(tables, _of_slots(tables, args)),
)
def _give_back_of(tables: Tables, session: Any, args: Any) -> Any:
    return _give_back(tables, _of_slots(tables, args))


# --- T2 -------------------------------------------------------------------------------------------


def _commit_keys(tables: Tables, args: Any) -> list[Key]:
    keys = _slot_keys(_ints(args[2]))
    keys += [("cash", account) for account in _plain(args[22])]
    if args[0] is not None:
        keys.append(("batch", args[0]))
    return keys


@_means(commit._COMMIT, locks=_commit_keys, is_durable=True)
def _commit(tables: Tables, session: Any, args: Any) -> Any:
    batch_id, recorded_at = args[0], args[1]
    numbers, epochs, expected, next_offsets = map(_ints, args[2:6])
    command_offsets = _plain(args[6])
    for n, epoch, offset in zip(numbers, epochs, expected, strict=True):
        row = tables.slots[n]
        if tables.checks_epochs and (row.epoch != epoch or row.next_offset != offset):
            raise Conflict(f"one of slots {numbers} has moved on without this process")
    recorded_us = us_of(recorded_at)
    events = [
        EventRecord(*columns, recorded_us)
        for columns in zip(
            _ints(args[7]), _ints(args[8]), _plain(args[9]), _ints(args[10]), _plain(args[11]), _quoted(args[12]),
            _quoted(args[13]), _bytes(args[14]), strict=True,
        )
    ]  # fmt: skip
    for event in events:
        if "\\u0000" in event.data:
            raise psycopg.errors.UntranslatableCharacter("unsupported Unicode escape sequence")
    heads = list(zip(_plain(args[15]), _ints(args[16]), _ints(args[17]), _bytes(args[18]), strict=True))
    if batch_id is not None and batch_id not in tables.batches and tables.checks_epochs:
        raise Conflict("the batch was given back by another owner")
    refusals = list(zip(_plain(args[19]), _quoted(args[20]), _plain(args[21]), strict=True))
    changes = list(zip(_plain(args[22]), *map(_ints, args[23:26]), strict=True))
    for account, credit, reserved, _ in changes:
        cash = tables.cash.get(account)
        if cash is None:
            raise psycopg.errors.RaiseException("an account without a cash row has traded")
        if cash.cash_pips + credit < 0 or cash.reserved_pips + reserved < 0:
            raise psycopg.errors.CheckViolation("cash below zero")

    def change() -> None:
        for n, next_offset, command_offset in zip(numbers, next_offsets, command_offsets, strict=True):
            row = tables.slots[n]
            row.next_offset, row.command_offset, row.recorded_us = next_offset, command_offset, recorded_us
        append_events(tables, session, events)
        session.committed_slots = dict(zip(numbers, epochs, strict=True))
        session.recorded_us = recorded_us
        for stream, slot, version, digest in heads:
            tables.streams[stream] = (slot, version, digest)
        if batch_id is not None:
            tables.batches.pop(batch_id, None)
        for account, key, refusal in refusals:
            if (claim := tables.claims.get((account, key))) is not None:
                claim.refusal = refusal
        for account, credit, reserved, fee in changes:
            cash = tables.cash[account]
            cash.cash_pips += credit
            cash.reserved_pips += reserved
            cash.fees_paid_pips += fee

    return [(None,)], change


def append_events(tables: Tables, session: Any, events: list[EventRecord]) -> None:
    for event in events:
        tables.events.setdefault(event.stream_id, []).append(event)
    session.committed_events += events


def copied_events(payload: bytes) -> list[EventRecord]:
    """The rows of a COPY in text format."""
    events = []
    for line in payload.splitlines():
        slot, offset, stream, version, kind, data, metadata, digest, recorded_at = line.split(b"\t")
        text, meta = (each.replace(b"\\\\", b"\\").decode() for each in (data, metadata))
        if "\\u0000" in text:
            raise psycopg.errors.UntranslatableCharacter("unsupported Unicode escape sequence")
        events.append(
            EventRecord(
                int(slot), int(offset), stream.decode(), int(version), kind.decode(), text, meta,
                bytes.fromhex(digest[3:].decode()), us_of(recorded_at.decode()),
            )
        )  # fmt: skip
    return events


# --- Reading markets ------------------------------------------------------------------------------


@_means(
    "SELECT id::text FROM stream LEFT JOIN market ON market_id = id "
    "WHERE stream.slot = ANY(%s) AND coalesce(status, '') NOT IN ('resolved', 'voided') ORDER BY id"
)
def _live_markets(tables: Tables, session: Any, args: Any) -> Any:
    # No read model: every market is live for ever.
    return sorted((stream,) for stream, (slot, _, _) in tables.streams.items() if slot in args[0]), None


@_means("SELECT slot, version, hash FROM stream WHERE id = %s")
def _stream_end(tables: Tables, session: Any, args: Any) -> Any:
    end = tables.streams.get(args[0])
    return ([end] if end is not None else []), None


@_means(
    "SELECT version, slot_offset, type, data::text, hash, (extract(epoch FROM recorded_at) * 1000000)::bigint "
    "FROM event WHERE stream_id = %s AND version > %s AND version <= %s ORDER BY version"
)
def _tail(tables: Tables, session: Any, args: Any) -> Any:
    stream, above, upto = args
    events = tables.events.get(stream, [])[above:upto]
    return [(e.version, e.slot_offset, e.type, e.data, e.hash, e.recorded_us) for e in events], None


@_means(
    "SELECT market_id::text, version, format, slot_offset, event_hash, "
    "(extract(epoch FROM recorded_at) * 1000000)::bigint, state_hash, payload FROM market_snapshot "
    "WHERE market_id = %s AND format = %s AND version <= coalesce(%s::bigint, version) "
    "ORDER BY version DESC LIMIT %s"
)
def _snapshots(tables: Tables, session: Any, args: Any) -> Any:
    market_id, form, upto, limit = args
    rows = [r for r in tables.snapshots.get(market_id, []) if r[2] == form and (upto is None or r[1] <= upto)]
    return sorted(rows, key=lambda r: -r[1])[:limit], None


@_means(
    "SELECT version, slot_offset, type, data::text, hash, (extract(epoch FROM recorded_at) * 1000000)::bigint, "
    "metadata::text FROM event WHERE stream_id = %s AND version IN (%s, %s) ORDER BY version"
)
def _around(tables: Tables, session: Any, args: Any) -> Any:
    stream, one, other = args
    events = tables.events.get(stream, [])
    found = [e for e in events[one - 1 : other] if e.version in (one, other)]
    return [
        (e.version, e.slot_offset, e.type, e.data, e.hash, e.recorded_us, e.metadata) for e in found
    ], None


@_means(
    "INSERT INTO market_snapshot (market_id, version, format, slot_offset, event_hash, recorded_at, state_hash, "
    "payload) VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (market_id, version, format) DO UPDATE SET "
    "slot_offset = excluded.slot_offset, event_hash = excluded.event_hash, recorded_at = excluded.recorded_at, "
    "state_hash = excluded.state_hash, payload = excluded.payload, created_at = now()"
)
def _keep_snapshot(tables: Tables, session: Any, args: Any) -> Any:
    row = (*args[:5], us_of(args[5]), *args[6:])

    def change() -> None:
        kept = [r for r in tables.snapshots.get(row[0], []) if r[:3] != row[:3]]
        tables.snapshots[row[0]] = [*kept, row]

    return [], change


@_means(
    "SELECT version, (recorded_at AT TIME ZONE 'UTC')::date FROM market_snapshot "
    "WHERE market_id = %s AND format = %s ORDER BY version"
)
def _snapshot_days(tables: Tables, session: Any, args: Any) -> Any:
    rows = [r for r in tables.snapshots.get(args[0], []) if r[2] == args[1]]
    return sorted((r[1], r[5] // 86_400_000_000) for r in rows), None


@_means(
    "DELETE FROM market_snapshot WHERE market_id = %s AND "
    "CASE format WHEN %s THEN version = ANY(%s::bigint[]) ELSE created_at < now() - %s * interval '1 day' END"
)
def _thin_out(tables: Tables, session: Any, args: Any) -> Any:
    market_id, form, versions, _ = args

    def change() -> None:
        rows = tables.snapshots.get(market_id, [])
        tables.snapshots[market_id] = [r for r in rows if r[2] != form or r[1] not in versions]

    return [], change


@_means(
    "SELECT metadata::text FROM event WHERE stream_id = %s AND version >= %s AND version <= %s ORDER BY version"
)
def _metadata_of(tables: Tables, session: Any, args: Any) -> Any:
    stream, first, last = args
    return [(event.metadata,) for event in tables.events.get(stream, [])[first - 1 : last]], None


# --- Dead letters ---------------------------------------------------------------------------------


@_means("INSERT INTO dead_letter (id, source, payload, error, trace) VALUES (%s, %s, %s, %s, %s)")
def _bury(tables: Tables, session: Any, args: Any) -> Any:
    command_id = msgspec.json.decode(args[2])["command_id"]
    now_us = tables.clock_us()
    return [], lambda: tables.letters.append((command_id, now_us))


@_means(
    "SELECT payload->>'command_id' FROM dead_letter "
    "WHERE source = %s AND created_at > now() - make_interval(secs => %s)"
)
def _letters(tables: Tables, session: Any, args: Any) -> Any:
    since = tables.clock_us() - args[1] * 1_000_000
    return [(command_id,) for command_id, at_us in tables.letters if at_us > since], None
