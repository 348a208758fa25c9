"""The source of truth: the append-only, partitioned, hash-chained log of events."""
