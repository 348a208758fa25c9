"""`python -m tests.crash.settlers`: processes that settle, made as fast as they are killed.

Each line `SETTLEMENT guarded|unguarded` makes one, whose id is printed. One that is unguarded takes no notice of how
workers share account slots out: it pays those whom others are paying, and only the accounts' marks keep that from
happening twice.
"""

import os
import signal
import sys
import time

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pmarket.settings")
django.setup()

from django.db import connection, transaction  # noqa: E402  (Django has to know its settings first)

from trading.ids import ACCOUNT_SLOTS, MARKET_SLOTS  # noqa: E402
from trading.settlement import course  # noqa: E402
from trading.settlement.dues import PAY, Settlement, load_settlement, next_dues, void_refunds  # noqa: E402
from trading.settlement.pay import pay_dues  # noqa: E402

BEFORE_ALL = "00000000-0000-0000-0000-000000000000"


def settle(settlement_id: str, *, is_guarded: bool) -> None:
    """Until all is paid; a settlement that has not begun is waited for."""
    if not is_guarded:
        while (settlement := load_settlement(settlement_id)).status == "pending":
            time.sleep(0.002)
        for step in settlement.steps:
            for slot in range(MARKET_SLOTS, MARKET_SLOTS + ACCOUNT_SLOTS):
                settle_slot(settlement, step, slot)
    while course.settle(settlement_id) != course.DONE:
        time.sleep(0.01)


def settle_slot(settlement: Settlement, step: str, slot: int) -> None:
    """A step of all accounts of a slot, from the first one on."""
    refunds = void_refunds(settlement) if step == PAY and settlement.kind == "void" else {}
    after, limit = BEFORE_ALL, course.CHUNK_ACCOUNTS
    while True:
        with transaction.atomic(), connection.cursor() as cursor:
            dues = next_dues(cursor, settlement, step, slot=slot, after=after, limit=limit, refunds=refunds)
            pay_dues(cursor, settlement, step, slot=slot, dues=dues)
        if len(dues) < limit:
            return
        after = dues[-1].account_id


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    for line in sys.stdin:
        settlement_id, guard = line.split()
        pid = os.fork()
        if pid == 0:
            settle(settlement_id, is_guarded=guard == "guarded")
            os._exit(0)
        print(pid, flush=True)


main()
