"""What a settlement would pay, before anybody has said yes to it: every account's part, and that it adds up.

Read from the same rows as settlement itself, with what comes first taken into account: the market's open orders will
be cancelled, which frees the shares that back them, and complete sets among those turn into $1 each at once. Of a
settlement that has begun, what was paid stands as it was paid. What a void can take back depends on the cash that is
there at that moment; the preview takes today's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from trading.errors import NotFound
from trading.ids import BEFORE_ALL
from trading.money import SHARE_PIPS
from trading.replicas import reading
from trading.settlement.split import split_pool

TOP = 10


@dataclass(frozen=True, slots=True)
class Decision:
    """How a market would end: pips a share of each outcome pays, None for a void. `settlement_id` if there is one."""

    market_id: str
    outcomes: int
    payouts: tuple[int, ...] | None
    settlement_id: str | None = None


class Part(NamedTuple):
    """What the end means for one account, in pips. `profit_pips` is all that the market will have brought it."""

    account_id: str
    quantities: tuple[int, ...]
    taken_back_pips: int
    payout_pips: int
    profit_pips: int


class Totals(NamedTuple):
    """The market's money on its way out. `collateral`, `fees` (of a void) and `taken_back` come in, `paid` goes out."""

    accounts: int
    orders: int
    released_pips: int
    netted_sets: int
    collateral_pips: int
    fees_pips: int
    taken_back_pips: int
    paid_pips: int

    @property
    def adds_up(self) -> bool:
        """Whether all that comes in goes out."""
        return self.collateral_pips + self.fees_pips + self.taken_back_pips == self.paid_pips


class Preview(NamedTuple):
    """The totals, a page of accounts by id, and those to whom it means most."""

    totals: Totals
    parts: Sequence[Part]
    winners: Sequence[Part]
    losers: Sequence[Part]


_ORDERS = """
SELECT count(*), coalesce(sum(reserved_pips), 0)::bigint FROM "order" WHERE market_id = %(market)s AND status = 'open'
"""
_SUMMARY = "SELECT open_interest_sets, fees_pips FROM market_summary WHERE market_id = %(market)s"
# Each account's shares once its orders are gone: complete sets among them have become money.
_HOLDINGS = """
    SELECT n.account_id, n.net_cash_pips + %(dollar)s * coalesce(h.sets, 0) AS flow_pips,
           coalesce(h.sets, 0) AS sets, coalesce(h.pays_pips, 0) - %(dollar)s * coalesce(h.sets, 0) AS pays_pips,
           paid.amount_pips AS paid_pips, taken.amount_pips AS taken_pips
    FROM participation n
    LEFT JOIN (
        SELECT account_id, sum(quantity * coalesce((%(payouts)s::integer[])[outcome + 1], 0))::bigint AS pays_pips,
               CASE WHEN count(*) FILTER (WHERE quantity > 0) = %(outcomes)s THEN min(quantity) ELSE 0 END AS sets
        FROM position WHERE market_id = %(market)s GROUP BY account_id
    ) h USING (account_id)
    LEFT JOIN settlement_account paid
        ON paid.settlement_id = %(settlement)s AND paid.account_id = n.account_id AND paid.step = 'pay'
    LEFT JOIN settlement_account taken
        ON taken.settlement_id = %(settlement)s AND taken.account_id = n.account_id AND taken.step = 'take_back'
    WHERE n.market_id = %(market)s
"""
# All that is asked of the accounts in one pass over them.
_OF_A_RESOLUTION = f"""
WITH parts AS MATERIALIZED (
    SELECT account_id, coalesce(paid_pips, pays_pips)::bigint AS payout_pips,
           (flow_pips + coalesce(paid_pips, pays_pips))::bigint AS profit_pips, sets::bigint
    FROM ({_HOLDINGS}) holdings
)
SELECT 'sums', NULL, coalesce(sum(payout_pips), 0)::bigint, count(*), coalesce(sum(sets), 0)::bigint FROM parts
UNION ALL (SELECT 'page', account_id::text, payout_pips, profit_pips, 0 FROM parts
           WHERE account_id > %(after)s ORDER BY account_id LIMIT %(limit)s)
UNION ALL (SELECT 'best', account_id::text, payout_pips, profit_pips, 0 FROM parts
           ORDER BY profit_pips DESC, account_id LIMIT %(top)s)
UNION ALL (SELECT 'worst', account_id::text, payout_pips, profit_pips, 0 FROM parts
           ORDER BY profit_pips, account_id LIMIT %(top)s)
"""  # noqa: S608
_OF_A_VOID = f"""
SELECT h.account_id::text, h.flow_pips::bigint, h.sets::bigint, coalesce(h.taken_pips, least(
           greatest(h.flow_pips, 0), c.cash_pips + coalesce(o.reserved_pips, 0) + %(dollar)s * h.sets))::bigint
FROM ({_HOLDINGS}) h JOIN cash_account c USING (account_id) LEFT JOIN (
    SELECT account_id, sum(reserved_pips) AS reserved_pips FROM "order"
    WHERE market_id = %(market)s AND status = 'open' GROUP BY account_id
) o USING (account_id) ORDER BY h.account_id
"""  # noqa: S608
_QUANTITIES = """
SELECT account_id::text, outcome, quantity FROM position
WHERE market_id = %(market)s AND account_id = ANY(%(accounts)s::uuid[]) AND quantity > 0
"""


def preview(decision: Decision, *, after: str | None, limit: int) -> Preview:
    """The totals, and the accounts that follow `after` by id. Raises NotFound for a market that is not there yet."""
    arguments = {
        "market": decision.market_id,
        "outcomes": decision.outcomes,
        "payouts": list(decision.payouts or ()),
        "settlement": decision.settlement_id,
        "dollar": SHARE_PIPS,
    }
    with reading().cursor() as cursor:
        if decision.payouts is None:
            return _of_a_void(cursor, decision, arguments, after=after, limit=limit)
        return _of_a_resolution(cursor, decision, arguments, after=after, limit=limit)


def _of_a_resolution(
    cursor: Any, decision: Decision, arguments: dict[str, Any], *, after: str | None, limit: int
) -> Preview:
    bounds = {"after": after or BEFORE_ALL, "limit": limit, "top": TOP}
    cursor.execute(_OF_A_RESOLUTION, {**arguments, **bounds})
    found: dict[str, list[tuple[Any, ...]]] = {"page": [], "best": [], "worst": [], "sums": []}
    for kind, account_id, payout, profit, sets in cursor.fetchall():
        found[kind].append((account_id, payout, profit, sets))
    _, paid, accounts, netted = found["sums"][0]
    totals = _totals(
        cursor, arguments, accounts=accounts, paid=paid, sets=netted, taken=0, returns_fees=False
    )
    page, best, worst = found["page"], found["best"], found["worst"]
    shares = _quantities(cursor, decision, [*page, *best, *worst])
    parts, winners, losers = (
        [Part(account_id, shares[account_id], 0, payout, profit) for account_id, payout, profit, _ in rows]
        for rows in (page, best, worst)
    )
    return _preview(totals, parts, winners, losers)


def _of_a_void(
    cursor: Any, decision: Decision, arguments: dict[str, Any], *, after: str | None, limit: int
) -> Preview:
    cursor.execute(_OF_A_VOID, arguments)
    rows = cursor.fetchall()
    taken = sum(row[3] for row in rows)
    refunds = _refunds(cursor, arguments, rows, taken)
    totals = _totals(
        cursor, arguments, accounts=len(rows), paid=sum(refunds.values()), sets=sum(row[2] for row in rows),
        taken=taken, returns_fees=True,
    )  # fmt: skip
    results = [
        (account_id, took, refunds.get(account_id, 0), flow + refunds.get(account_id, 0) - took)
        for account_id, flow, _, took in rows
    ]
    page = [row for row in results if after is None or row[0] > after][:limit]
    best = sorted(results, key=lambda row: (-row[3], row[0]))[:TOP]
    worst = sorted(results, key=lambda row: (row[3], row[0]))[:TOP]
    shares = _quantities(cursor, decision, [*page, *best, *worst])
    parts, winners, losers = (
        [Part(row[0], shares[row[0]], *row[1:]) for row in some] for some in (page, best, worst)
    )
    return _preview(totals, parts, winners, losers)


def _refunds(
    cursor: Any, arguments: dict[str, Any], rows: Sequence[tuple[Any, ...]], taken: int
) -> dict[str, int]:
    """Each account's, by the rule of the settlement itself."""
    cursor.execute(_SUMMARY, arguments)
    row = cursor.fetchone()
    if row is None:
        raise NotFound("There is no such market.")
    sets, fees = row
    pool = SHARE_PIPS * (sets - sum(row[2] for row in rows)) + fees + taken
    return split_pool({account_id: -flow for account_id, flow, *_ in rows if flow < 0}, pool)


def _totals(
    cursor: Any, arguments: Mapping[str, Any], *, accounts: int, paid: int, sets: int, taken: int, returns_fees: bool
) -> Totals:  # fmt: skip
    cursor.execute(_ORDERS, arguments)
    orders, released = cursor.fetchone()
    cursor.execute(_SUMMARY, arguments)
    row = cursor.fetchone()
    if row is None:
        raise NotFound("There is no such market.")
    outstanding, fees = row
    return Totals(
        accounts=accounts, orders=orders, released_pips=released, netted_sets=sets,
        collateral_pips=SHARE_PIPS * (outstanding - sets), fees_pips=fees if returns_fees else 0,
        taken_back_pips=taken, paid_pips=paid,
    )  # fmt: skip


def _quantities(
    cursor: Any, decision: Decision, rows: Sequence[tuple[Any, ...]]
) -> dict[str, tuple[int, ...]]:
    """Shares by outcome of each account that is shown."""
    accounts = list({row[0] for row in rows})
    cursor.execute(_QUANTITIES, {"market": decision.market_id, "accounts": accounts})
    held = {account_id: [0] * decision.outcomes for account_id in accounts}
    for account_id, outcome, quantity in cursor.fetchall():
        held[account_id][outcome] = quantity
    return {account_id: tuple(quantities) for account_id, quantities in held.items()}


def _preview(totals: Totals, parts: Sequence[Part], best: Sequence[Part], worst: Sequence[Part]) -> Preview:
    return Preview(
        totals,
        parts,
        [part for part in best if part.profit_pips > 0],
        [part for part in worst if part.profit_pips < 0],
    )
