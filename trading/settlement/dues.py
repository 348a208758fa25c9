"""Who is owed what by a settled market, read from the positions projection at or past its cause.

Owns no rows. Refuses (Behind) to read a projection that is not there yet or is being rebuilt, and
(Unbalanced) one that does not add up to what the market holds.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from django.db import connection

from trading.errors import NotFound
from trading.eventlog.read import read_creations, read_slot
from trading.money import SHARE_PIPS
from trading.settlement.split import split_pool

PROJECTION = "positions"
PAGE_ACCOUNTS = 8000
BEFORE_ALL_ACCOUNTS = "00000000-0000-0000-0000-000000000000"

TAKE_BACK, PAY = "take_back", "pay"


class Unbalanced(Exception):
    """Positions or flows differ from what the market holds; paying by them would make or lose money."""


class Behind(Exception):
    """The positions projection has not reached the cause, or is being rebuilt."""


class Settlement(NamedTuple):
    """What is to be settled. `fees_pips` is what the market has charged; a void gives it back."""

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

    @property
    def resolves(self) -> bool:
        return self.kind == "resolve"

    @property
    def steps(self) -> tuple[str, ...]:
        return (PAY,) if self.resolves else (TAKE_BACK, PAY)

    @property
    def cause(self) -> dict[str, int]:
        return {"slot": self.cause_slot, "offset": self.cause_offset}


class Due(NamedTuple):
    """What one account is owed (or, in take_back, owes), and the shares it holds of each outcome."""

    account_id: str
    amount_pips: int
    quantities: tuple[int, ...]


def load_settlement(settlement_id: str) -> Settlement:
    """The settlement's row with the terms that its cause, and the market's first event, have fixed."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT settlement_id::text, market_id::text, kind, status, cause_slot, cause_offset "
            "FROM settlement WHERE settlement_id = %s",
            [settlement_id],
        )
        row = cursor.fetchone()
        if row is None:
            raise NotFound("There is no such settlement.")
        settlement_id, market_id, kind, status, cause_slot, cause_offset = row
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
        fees_pips=decision.data["fees"],
        cause_slot=cause_slot,
        cause_offset=cause_offset,
    )


def count_accounts(cursor: Any, settlement: Settlement) -> int:
    """How many accounts there are to settle, after checking that the market adds up (else Unbalanced).

    Whoever has traded is settled, those who hold nothing any more too: what their trading was worth, as a forecast,
    shows only now, and the log tells it account by account.
    """
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
    """What a settlement pays out in all: the collateral; a void adds fees and what was taken back."""
    if settlement.resolves:
        return settlement.collateral_pips
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(amount_pips), 0)::bigint FROM settlement_account "
            "WHERE settlement_id = %s AND step = 'take_back'",
            [settlement.settlement_id],
        )
        return settlement.collateral_pips + settlement.fees_pips + cursor.fetchone()[0]


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


_NOT_MARKED = (
    "NOT EXISTS (SELECT FROM settlement_account d "
    "WHERE d.settlement_id = %s AND d.account_id = n.account_id AND d.step = '{}')"
)
_PARTICIPANTS = (
    "SELECT n.account_id::text, array_agg(p.outcome) FILTER (WHERE p.quantity > 0), "  # noqa: S608
    "array_agg(p.quantity) FILTER (WHERE p.quantity > 0), 0::bigint "
    "FROM participation n LEFT JOIN position p ON p.market_id = n.market_id AND p.account_id = n.account_id "
    f"WHERE n.market_id = %s AND n.account_id > %s AND {_NOT_MARKED.format(PAY)} "
    "GROUP BY n.account_id ORDER BY n.account_id LIMIT %s"
)
_THOSE_AHEAD = (
    "SELECT n.account_id::text, NULL::smallint[], NULL::bigint[], n.net_cash_pips "  # noqa: S608
    "FROM participation n "
    "WHERE n.market_id = %s AND n.account_id > %s AND n.net_cash_pips > 0 "
    f"AND {_NOT_MARKED.format(TAKE_BACK)} ORDER BY n.account_id LIMIT %s"
)


def dues_page(settlement: Settlement, step: str, *, after: str, refunds: Mapping[str, int]) -> list[Due]:
    """The next accounts in id order, at most PAGE_ACCOUNTS, that are not marked as done with the step.

    `refunds` are a void's (see void_refunds), and empty otherwise.
    """
    query = _THOSE_AHEAD if step == TAKE_BACK else _PARTICIPANTS
    arguments = [settlement.market_id, after, settlement.settlement_id, PAGE_ACCOUNTS]
    with connection.cursor() as cursor:
        rows = _read(cursor, settlement, query, arguments)
    page = []
    for account_id, held_outcomes, held_quantities, net in rows:
        held = dict(zip(held_outcomes or (), held_quantities or (), strict=True))
        quantities = tuple(held.get(outcome, 0) for outcome in range(settlement.outcomes))
        if step == TAKE_BACK:
            amount = net
        elif settlement.resolves:
            amount = sum(held * pays for held, pays in zip(quantities, settlement.payouts, strict=True))
        else:
            amount = refunds.get(account_id, 0)
        page.append(Due(account_id, amount, quantities))
    return page


def _read(cursor: Any, settlement: Settlement, query: str, arguments: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Rows of the projection, read in one statement (so one snapshot) with its checkpoint, or Behind.

    A rebuild that has emptied the tables must not look like a market without holders. The first column
    of `query` is never null.
    """
    cursor.execute(
        f"SELECT r.* FROM projection_checkpoint k LEFT JOIN LATERAL ({query}) AS r ON true "  # noqa: S608
        "WHERE k.projection = %s AND k.slot = %s AND k.next_offset > %s",
        [*arguments, PROJECTION, settlement.cause_slot, settlement.cause_offset],
    )
    rows = cursor.fetchall()
    if not rows:
        raise Behind
    return [row for row in rows if row[0] is not None]
