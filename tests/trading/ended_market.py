"""A market that was decided, laid out in the tables as the shard and the projections would have left it."""

from django.db import connection

from trading.cash import open_account
from trading.eventlog.append import EMPTY, Head, copy_rows, encode_row, write_stream_heads
from trading.eventlog.codec import canonical_json, timestamp_text
from trading.ids import market_slot, new_id
from trading.settlement import settle


def append_to_market(market_id, *events):
    """Put events into a market's stream as the shard would; answers the last one's (slot, offset)."""
    slot = market_slot(market_id)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT next_offset, greatest(recorded_at, now()), "
            "(extract(epoch FROM greatest(recorded_at, now())) * 1000000)::bigint FROM slot WHERE slot = %s",
            [slot],
        )
        offset, recorded_at, at_us = cursor.fetchone()
        head = EMPTY
        cursor.execute("SELECT version, hash FROM stream WHERE id = %s", [market_id])
        for version, digest in cursor.fetchall():
            head = Head(version, bytes(digest))
        for type_, data in events:
            row, head = encode_row(
                slot=slot, slot_offset=offset, stream_id=market_id, head=head, type=type_, data=canonical_json(data),
                metadata=b"{}", recorded_at=timestamp_text(at_us),
            )  # fmt: skip
            copy_rows(cursor, [row])
            offset += 1
        write_stream_heads(cursor, slot=slot, heads={market_id: head})
        cursor.execute(
            "UPDATE slot SET next_offset = %s, recorded_at = %s WHERE slot = %s", [offset, recorded_at, slot]
        )
    return slot, offset - 1


class Ended:
    """A market that was decided, with the rows that the projections would have made of its trades."""

    def __init__(self, *, holdings, payouts=None, net=None, cash=None, fees=0, sets=None):
        """`holdings`: account -> shares by outcome; `net`: account -> net cash; without payouts it is void."""
        self.market_id, self.settlement_id = new_id(), new_id()
        self.holdings, self.net = holdings, net or {}
        accounts = sorted({*holdings, *self.net})
        self.outcomes = len(next(iter(holdings.values()), (0, 0)))
        per_outcome = [sum(column) for column in zip(*holdings.values(), strict=True)] or [0]
        self.sets = per_outcome[0] if sets is None else sets
        about = {"settlement": self.settlement_id, "evidence": "", "sets": self.sets, "fees": fees}
        ending = ("market_voided/1", about) if payouts is None else (
            "market_resolved/1", {**about, "payouts": list(payouts)})  # fmt: skip
        names = [f"outcome {n}" for n in range(self.outcomes)]
        self.slot, self.offset = append_to_market(
            self.market_id, ("market_created/1", {"market": self.market_id, "outcomes": names}), ending
        )
        with connection.cursor() as cursor:
            for account_id in accounts:
                open_account(account_id)
                cursor.execute(
                    "UPDATE cash_account SET cash_pips = %s WHERE account_id = %s",
                    [(cash or {}).get(account_id, 0), account_id],
                )
                cursor.execute(
                    "INSERT INTO participation (market_id, account_id, net_cash_pips) VALUES (%s, %s, %s)",
                    [self.market_id, account_id, self.net.get(account_id, 0)],
                )
                for outcome, quantity in enumerate(holdings.get(account_id, ())):
                    cursor.execute(
                        "INSERT INTO position (market_id, account_id, outcome, quantity) VALUES (%s, %s, %s, %s)",
                        [self.market_id, account_id, outcome, quantity],
                    )
            cursor.execute(
                "INSERT INTO settlement (settlement_id, market_id, kind, status, payouts, cause_slot, "
                "cause_offset, collateral_pips, created_at) VALUES (%s, %s, %s, 'pending', %s, %s, %s, %s, now())",
                [self.settlement_id, self.market_id, "void" if payouts is None else "resolve",
                 list(payouts) if payouts else None, self.slot, self.offset,
                 self.sets * 10_000],
            )  # fmt: skip
        self.project_up_to(self.offset + 1)

    def project_up_to(self, next_offset):
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO projection_checkpoint (projection, slot, next_offset) VALUES ('positions', %s, %s) "
                "ON CONFLICT (projection, slot) DO UPDATE SET next_offset = excluded.next_offset",
                [self.slot, next_offset],
            )

    def zero_settled_positions(self):
        """What the projection does with position_closed events, at any time."""
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE position p SET quantity = 0 WHERE market_id = %s AND EXISTS (SELECT FROM settlement_account d "
                "WHERE d.settlement_id = %s AND d.account_id = p.account_id AND d.step = 'pay')",
                [self.market_id, self.settlement_id],
            )

    def settle(self, **options):
        return settle(self.settlement_id, **options)

    def row(self):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT status, accounts_total, accounts_paid, paid_pips, collateral_pips, finished_at IS NOT NULL "
                "FROM settlement WHERE settlement_id = %s",
                [self.settlement_id],
            )
            return cursor.fetchone()
