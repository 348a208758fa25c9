"""The shard's figures for Prometheus: once a batch, never once an order."""

from trading import metrics
from trading.shard.batch import Batch


def batch(
    batch: Batch, *, commands: int, reserve: float, match: float, commit: float, publish: float
) -> None:
    """Counts what a committed batch did and how long each step took, in seconds."""
    counts = batch.counts
    metrics.ORDERS.labels(outcome="accepted").inc(counts.get("order_placed/1", 0))
    metrics.ORDERS.labels(outcome="rejected").inc(counts.get("order_rejected/1", 0))
    metrics.TRADES.inc(counts.get("order_matched/1", 0))
    for code, number in batch.refusals.items():
        metrics.REFUSALS.labels(code=code).inc(number)
    metrics.BATCH_SIZE.observe(commands)
    for step, seconds in (("reserve", reserve), ("match", match), ("commit", commit), ("publish", publish)):
        metrics.BATCH_SECONDS.labels(step=step).observe(seconds)
