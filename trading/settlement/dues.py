"""Who is owed what by a settled market, read from the positions projection at or past its cause.

What a reversal undoes is read from the marks of the settlement it undoes. Owns no rows. Refuses (Behind) to read a
projection that is not there yet or is being rebuilt, and (Unbalanced) one that does not add up to what the market
holds.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from django.db import connection

from trading.errors import NotFound
from trading.eventlog.read import read_creations, read_slot
from trading.ids import ACCOUNT_SLOTS, MARKET_SLOTS
from trading.money import SHARE_PIPS
from trading.settlement.split import split_pool

PROJECTION = "positions"

TAKE_BACK, PAY, UNDO_PAY, UNDO_TAKE_BACK = "take_back", "pay", "undo_pay", "undo_take_back"
STEPS = {
    "resolve": (PAY,),
    "void": (TAKE_BACK, PAY),
    # What comes in comes first.
    "reverse": (UNDO_PAY, UNDO_TAKE_BACK),
}


class Unbalanced(Exception):
    """Positions or flows differ from what the market holds; paying by them would make or lose money."""


class Behind(Exception):
    """The positions projection has not reached the cause, or is being rebuilt."""


class Settlement(NamedTuple):
    """What is to be settled. `fees_pips` is what the market has charged; a void gives it back.

    `reaches` is how far the projection has to be in the account slots: where an earlier settlement of the market
    ended; empty for the first one. While an earlier one is not done, the settlement `has_to_wait`. A reversal undoes
    `reverses`, which was of the kind `reversed_kind`.
    """

    settlement_id: str
    market_id: str
    kind: str
    status: str
    payouts: tuple[int, ...]
    outcomes: int
    collateral_pips: int
    fees_pips: int
    cause_slot: int
    cause_offset: int
    reverses: str | None
    reversed_kind: str | None
    reaches: tuple[int, ...]
    has_to_wait: bool

    @property
    def resolves(self) -> bool:
        return self.kind == "resolve"

    @property
    def steps(self) -> tuple[str, ...]:
        return STEPS[self.kind]

    @property
    def cause(self) -> dict[str, int]:
        return {"slot": self.cause_slot, "offset": self.cause_offset}


class Due(NamedTuple):
    """What one account is owed (or owes, in take_back and undo_pay), the shares it holds and what they cost."""

    account_id: str
    amount_pips: int
    quantities: tuple[int, ...]
    costs_pips: tuple[int, ...]


# Whether the earlier ones are done and where the last of them ended is of one moment: read one after the other, that
# one might end in between, and positions would be read without waiting for what it has done to them.
_LOAD = """
SELECT s.settlement_id::text, s.market_id::text, s.kind, s.status, s.cause_slot, s.cause_offset, s.reverses::text,
       r.kind, (SELECT e.ended_at_offsets FROM settlement e
                WHERE e.market_id = s.market_id AND e.cause_offset < s.cause_offset
                ORDER BY e.cause_offset DESC LIMIT 1),
       EXISTS (SELECT FROM settlement e
               WHERE e.market_id = s.market_id AND e.cause_offset < s.cause_offset AND e.status <> 'done')
FROM settlement s LEFT JOIN settlement r ON r.settlement_id = s.reverses WHERE s.settlement_id = %s
"""


def load_settlement(settlement_id: str) -> Settlement:
    """The settlement's row with the terms that its cause, and the market's first event, have fixed."""
    with connection.cursor() as cursor:
        cursor.execute(_LOAD, [settlement_id])
        row = cursor.fetchone()
        if row is None:
            raise NotFound("There is no such settlement.")
        (
            settlement_id, market_id, kind, status, cause_slot, cause_offset, reverses, reversed_kind, reaches,
            has_to_wait,
        ) = row  # fmt: skip
        (decision,) = read_slot(cursor, slot=cause_slot, from_offset=cause_offset, limit=1)
        outcomes = len(read_creations(cursor, [market_id])[market_id]["outcomes"])
    return Settlement(
        settlement_id=settlement_id,
        market_id=market_id,
        kind=kind,
        status=status,
        payouts=tuple(decision.data["payouts"]) if kind == "resolve" else (),
        outcomes=outcomes,
        collateral_pips=decision.data["sets"] * SHARE_PIPS,
        fees_pips=decision.data.get("fees", 0),
        cause_slot=cause_slot,
        cause_offset=cause_offset,
        reverses=reverses,
        reversed_kind=reversed_kind,
        reaches=tuple(reaches or ()),
        has_to_wait=has_to_wait,
    )


def count_accounts(cursor: Any, settlement: Settlement) -> int:
    """How many accounts there are to settle, after checking that the market adds up (else Unbalanced).

    Whoever has traded is settled, those who hold nothing any more too: what their trading was worth, as a forecast,
    shows only now, and the log tells it account by account.
    """
    if settlement.kind == "reverse":
        cursor.execute(
            "SELECT count(*) FROM settlement_account WHERE settlement_id = %s AND step = 'pay'",
            [settlement.reverses],
        )
        return int(cursor.fetchone()[0])
    if settlement.resolves:
        _check_shares(cursor, settlement)
    query = "SELECT count(*), coalesce(sum(net_cash_pips), 0)::bigint FROM participation WHERE market_id = %s"
    ((accounts, net),) = _read(cursor, settlement, query, [settlement.market_id])
    if not settlement.resolves and -net != settlement.collateral_pips + settlement.fees_pips:
        raise Unbalanced(
            f"accounts put in {-net} pips on balance, but the market has {settlement.collateral_pips} "
            f"of collateral and {settlement.fees_pips} of fees"
        )
    return int(accounts)


def has_its_cause(settlement_id: str) -> bool:
    """Whether the event that ended the market is at hand; what undoes the end is folded with a look at it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM settlement JOIN event ON slot = cause_slot AND slot_offset = cause_offset "
            "WHERE settlement_id = %s)",
            [settlement_id],
        )
        return bool(cursor.fetchone()[0])


def can_be_undone(settlement_id: str) -> bool:
    """Whether the marks of a settlement say what was closed; those of before there were reversals do not."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM settlement_account "
            "WHERE settlement_id = %s AND step = 'pay' AND quantities IS NULL)",
            [settlement_id],
        )
        return not cursor.fetchone()[0]


def _check_shares(cursor: Any, settlement: Settlement) -> None:
    """Every outcome must have as many shares as there are sets, and the pay-outs of a set must be $1."""
    if len(settlement.payouts) != settlement.outcomes or sum(settlement.payouts) != SHARE_PIPS:
        raise Unbalanced(f"payouts {settlement.payouts} are not $1 for {settlement.outcomes} outcomes")
    query = "SELECT outcome, sum(quantity)::bigint FROM position WHERE market_id = %s GROUP BY outcome"
    shares = dict(_read(cursor, settlement, query, [settlement.market_id]))
    sets = settlement.collateral_pips // SHARE_PIPS
    if any(shares.get(outcome, 0) != sets for outcome in range(settlement.outcomes)):
        raise Unbalanced(f"shares held {shares} differ from {sets} sets outstanding")


def pool_pips(settlement: Settlement) -> int:
    """What a settlement moves in all: the collateral; a void adds fees and what was taken back.

    Of a reversal, what the settlement that it undoes had paid.
    """
    if settlement.resolves:
        return settlement.collateral_pips
    with connection.cursor() as cursor:
        if settlement.kind == "reverse":
            return _marked_pips(cursor, settlement.reverses, PAY)
        taken = _marked_pips(cursor, settlement.settlement_id, TAKE_BACK)
        return settlement.collateral_pips + settlement.fees_pips + taken


def _marked_pips(cursor: Any, settlement_id: str | None, step: str) -> int:
    cursor.execute(
        "SELECT coalesce(sum(amount_pips), 0)::bigint FROM settlement_account WHERE settlement_id = %s AND step = %s",
        [settlement_id, step],
    )
    return int(cursor.fetchone()[0])


def void_refunds(settlement: Settlement) -> dict[str, int]:
    """Each account's refund of a void, once all has been taken back: the same whenever it is asked."""
    query = (
        "SELECT account_id::text, -net_cash_pips FROM participation "
        "WHERE market_id = %s AND net_cash_pips < 0"
    )
    with connection.cursor() as cursor:
        owed = dict(_read(cursor, settlement, query, [settlement.market_id]))
    pool = pool_pips(settlement)
    if pool > sum(owed.values()):
        raise Unbalanced(f"{pool} pips to give back, but only {sum(owed.values())} were put in")
    return split_pool(owed, pool)


# As trading.ids.account_slot has it.
_IN_SLOT = f"crc32(n.account_id::text::bytea) %% {ACCOUNT_SLOTS} = %s"
_PARTICIPANTS = f"""
SELECT n.account_id::text, array_agg(p.outcome) FILTER (WHERE p.quantity > 0),
       array_agg(p.quantity) FILTER (WHERE p.quantity > 0), array_agg(p.cost_pips) FILTER (WHERE p.quantity > 0),
       n.net_cash_pips
FROM (SELECT n.market_id, n.account_id, n.net_cash_pips FROM participation n
      WHERE n.market_id = %s AND n.account_id > %s AND {_IN_SLOT} {{those}} ORDER BY n.account_id LIMIT %s) AS n
LEFT JOIN position p ON p.market_id = n.market_id AND p.account_id = n.account_id
GROUP BY n.account_id, n.net_cash_pips ORDER BY n.account_id
"""  # noqa: S608
_MARKED = f"""
SELECT n.account_id::text, n.amount_pips, n.quantities, n.costs FROM settlement_account n
WHERE n.settlement_id = %s AND n.step = %s AND n.account_id > %s AND {_IN_SLOT} ORDER BY n.account_id LIMIT %s
"""  # noqa: S608


def next_dues(
    cursor: Any,
    settlement: Settlement,
    step: str,
    *,
    slot: int,
    after: str,
    limit: int,
    refunds: Mapping[str, int],
) -> list[Due]:
    """The accounts of a slot that follow `after` in id order, at most `limit`.

    `refunds` are a void's (see void_refunds), and empty otherwise.
    """
    if settlement.kind == "reverse":
        return _marked_dues(cursor, settlement, step, slot=slot, after=after, limit=limit)
    query = _PARTICIPANTS.format(those="AND n.net_cash_pips > 0" if step == TAKE_BACK else "")
    arguments = [settlement.market_id, after, slot - MARKET_SLOTS, limit]
    page = []
    for account_id, outcomes, shares, costs, net in _read(cursor, settlement, query, arguments):
        quantities = _by_outcome(settlement, outcomes, shares)
        if step == TAKE_BACK:
            amount = net
        elif settlement.resolves:
            amount = sum(held * pays for held, pays in zip(quantities, settlement.payouts, strict=True))
        else:
            amount = refunds.get(account_id, 0)
        page.append(Due(account_id, amount, quantities, _by_outcome(settlement, outcomes, costs)))
    return page


def _by_outcome(
    settlement: Settlement, outcomes: Sequence[int] | None, values: Sequence[int] | None
) -> tuple[int, ...]:
    """One value an outcome, 0 where nothing is held."""
    found = dict(zip(outcomes or (), values or (), strict=True))
    return tuple(found.get(outcome, 0) for outcome in range(settlement.outcomes))


def _marked_dues(
    cursor: Any, settlement: Settlement, step: str, *, slot: int, after: str, limit: int
) -> list[Due]:
    undone = PAY if step == UNDO_PAY else TAKE_BACK
    cursor.execute(_MARKED, [settlement.reverses, undone, after, slot - MARKET_SLOTS, limit])
    return [
        Due(account_id, amount, tuple(quantities or ()), tuple(costs or ()))
        for account_id, amount, quantities, costs in cursor.fetchall()
    ]


def _read(cursor: Any, settlement: Settlement, query: str, arguments: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Rows of the projection, read in one statement (so one snapshot) with its checkpoint, or Behind.

    A rebuild that has emptied the tables must not look like a market without holders. The first column
    of `query` is never null.
    """
    cursor.execute(
        f"SELECT r.* FROM projection_checkpoint k LEFT JOIN LATERAL ({query}) AS r ON true "  # noqa: S608
        "WHERE k.projection = %s AND k.slot = %s AND k.next_offset > %s AND NOT EXISTS ("
        "SELECT FROM unnest(%s::bigint[]) WITH ORDINALITY AS goal(next_offset, place) "
        "LEFT JOIN projection_checkpoint c ON c.projection = k.projection AND c.slot = %s + goal.place - 1 "
        "WHERE coalesce(c.next_offset, 0) < goal.next_offset)",
        [
            *arguments,
            PROJECTION,
            settlement.cause_slot,
            settlement.cause_offset,
            list(settlement.reaches),
            MARKET_SLOTS,
        ],
    )
    rows = cursor.fetchall()
    if not rows:
        raise Behind
    return [row for row in rows if row[0] is not None]
