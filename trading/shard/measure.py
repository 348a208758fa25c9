"""The shard's figures for Prometheus: once a batch, never once an order."""

from collections.abc import Iterable

import redis

from trading import metrics
from trading.shard.batch import Batch
from trading.shard.slots import OwnedSlot
from trading.wire import command_stream


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


def slots(bus: redis.Redis, owned: Iterable[OwnedSlot]) -> None:
    """How many stream entries each slot has not consumed yet."""
    owned = list(owned)
    pipeline = bus.pipeline(transaction=False)
    for slot in owned:
        pipeline.xrange(command_stream(slot.slot), min=f"({slot.command_offset}", count=1000)
    for slot, waiting in zip(owned, pipeline.execute(), strict=True):
        metrics.SLOT_LAG.labels(slot=str(slot.slot)).set(len(waiting))
