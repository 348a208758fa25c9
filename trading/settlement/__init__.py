"""Pays out a resolved market, unwinds a voided one, or undoes either, exactly once whatever dies when.

    pending ── begin: the shares (or flows) add up to what the market holds ──► running ──► done
      ▲  └───────────────────── they do not, and nothing is paid ─────────────────────────► failed
      └──────────────────────── the read model is mended, the job requeued ◄──────────────────┘

    jobs.py     the jobs that carry it, and what their ends mean
    course.py   the whole of it, a bounded piece at a time
    dues.py     who is owed what, read from the positions projection
    pay.py      one chunk of accounts: their events, cash and marks, in one transaction
    split.py    a pool that is too small, divided in whole pips
    preview.py  what it would pay, before anybody says yes to it

Who is owed what comes from the positions projection, once it has reached the event that decided the
market (the settlement's cause). From then on only pay.py causes changes to those rows, and the row in
settlement_account that marks an account as done commits with its events and its cash. So whoever has
no mark yet has untouched rows: the work can stop anywhere, and any number of workers may do it at once,
a slot of accounts at a time.
"""

from trading.settlement.course import BUSY, DONE, RUNNING, WAITING, settle
from trading.settlement.dues import Behind, Settlement, Unbalanced

__all__ = ["BUSY", "DONE", "RUNNING", "WAITING", "Behind", "Settlement", "Unbalanced", "settle"]
