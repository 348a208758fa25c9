"""Reads that may lag come from replicas, in turn; everything else, and every decision, from the primary.

reads.py    the block in which a view's reads go to one replica, and the ways back to the primary
router.py   the same for Django's own queries
watch.py    how far behind a replica is, and whether it may serve
"""

from trading.replicas.reads import current_alias, leave_replica, may_lag, on_replica, reading, wait_until

__all__ = ["current_alias", "leave_replica", "may_lag", "on_replica", "reading", "wait_until"]
