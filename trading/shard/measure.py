"""The shard's figures for Prometheus: once a batch, never once an order."""

from trading import metrics
from trading.shard.batch import Batch


def batch(batch: Batch, *, commands: int, seconds: dict[str, float]) -> None:
    """Counts what a committed batch did and the seconds that each step took."""
    counts = batch.counts
    metrics.ORDERS.labels(outcome="accepted").inc(counts.get("order_placed/1", 0))
    metrics.ORDERS.labels(outcome="rejected").inc(counts.get("order_rejected/1", 0))
    metrics.TRADES.inc(counts.get("order_matched/1", 0))
    for code, number in batch.refusals.items():
        metrics.REFUSALS.labels(code=code).inc(number)
    metrics.BATCH_SIZE.observe(commands)
    for step, took in seconds.items():
        metrics.BATCH_SECONDS.labels(step=step).observe(took)
