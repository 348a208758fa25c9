"""What a projector tells an account's sockets of a batch, once its rows are visible: which rows to look at again.

One message a batch on `account:{account_id}`, JSON, for accounts that somebody listens to. `seq` is how many events
have named the account, `prev` what it was before this batch: a listener that has another number has missed something.
Losing a message costs a look at the account's own row.
"""

import functools
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import redis
from django.conf import settings

from trading.as_of import token_of
from trading.engine.trades import leg_trade_ids
from trading.eventlog.codec import LoggedEvent

CHANNEL_PREFIX = "account:"
RETRY_S = 1.0


class Changes(msgspec.Struct, frozen=True, tag_field="type", tag="changes"):
    """Rows of an account that are no longer as they were, and the token that a reader of them must have reached."""

    seq: int
    prev: int
    as_of: str
    orders: list[str] = []
    markets: list[str] = []
    trades: list[str] = []


class Touched(msgspec.Struct, frozen=True):
    """An account in a batch: its number after it, and the events that name it."""

    seq: int
    events: Sequence[LoggedEvent]


_encode = msgspec.json.Encoder().encode


@functools.cache
def _client() -> redis.Redis:
    return redis.Redis.from_url(settings.FEED_URL, socket_timeout=0.5, socket_connect_timeout=0.5)


class AccountNews:
    """Tells who listens; after a failure nobody for a moment."""

    def __init__(self) -> None:
        self._quiet_until = 0.0

    def tell(self, touched: Mapping[str, Touched]) -> None:
        """One message to each account that is listened to. Raises redis.RedisError."""
        if time.monotonic() < self._quiet_until:
            return
        try:
            channels = [CHANNEL_PREFIX + account_id for account_id in touched]
            listeners: Any = _client().pubsub_numsub(*channels)
            with _client().pipeline(transaction=False) as pipeline:
                for (name, count), (account_id, each) in zip(listeners, touched.items(), strict=True):
                    if count:
                        pipeline.publish(name, _encode(changes_of(account_id, each)))
                pipeline.execute()
        except redis.RedisError:
            self._quiet_until = time.monotonic() + RETRY_S
            raise


def changes_of(account_id: str, touched: Touched) -> Changes:
    """What the events change for the account."""
    orders: dict[str, None] = {}
    markets: dict[str, None] = {}
    trades: dict[str, None] = {}
    for event in touched.events:
        data = event.data
        if event.type == "order_matched/1":
            legs = data["legs"]
            for leg, trade_id in zip(legs, leg_trade_ids(data["trade"], len(legs)), strict=True):
                if leg["account"] == account_id:
                    orders[leg["order"]] = trades[trade_id] = None
            markets[event.stream_id] = None
            continue
        if (order_id := data.get("order")) is not None:
            orders[order_id] = None
        if data.get("netted"):
            markets[event.stream_id] = None
        if (market_id := data.get("market")) is not None:
            markets[market_id] = None
    reached = _reached(touched.events)
    return Changes(
        touched.seq, touched.seq - len(touched.events), reached, list(orders), list(markets), list(trades)
    )


def _reached(events: Iterable[LoggedEvent]) -> str:
    next_offsets: dict[int, int] = {}
    for event in events:
        next_offsets[event.slot] = max(event.slot_offset + 1, next_offsets.get(event.slot, 0))
    return token_of(next_offsets.items())
