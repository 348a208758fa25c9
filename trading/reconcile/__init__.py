"""Proves that cash and every read model are what the log says, and that money is conserved.

    ledger.py    an independent replay of money: cash, reserves, fees, deposits, pay-outs
    markets.py   an independent replay of what the read models show, one fold a projection
    accounts.py  the same of what they show by account, over all slots
    rows.py      what the tables hold, read in short snapshots
    run.py       the course of a reconciliation

Written plainly from the fields of the events, sharing no code with the engine or the projections, so
that a mistake in those does not repeat itself here.

**While trading goes on.** Cash is compared at one moment: a single short snapshot reads the slots'
heads, the cash rows and the open batches, which every commit changes together, and the ledger replays
exactly up to those heads. The read models have moved on by the time they are looked at, each
projection and slot at its own pace. So the markets of a slot are read a few at a time, each time in a
snapshot together with the checkpoints; the fold of each projection is then played forward from where
it stands to just that checkpoint, which is never behind an earlier one, and compared there. So are the accounts, a
few hundred at a time, with all slots.
"""

from trading.reconcile.run import Report, reconcile

__all__ = ["Report", "reconcile"]
