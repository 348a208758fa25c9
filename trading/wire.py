"""What travels between gateways and shards through Valkey, and nothing else.

A gateway gathers commands into frames, one stream entry each (`commands:{slot}`, field `f`); a
shard answers each gateway with one message a batch (`outcomes:{gateway}`). Both are msgpack arrays.
"""

from typing import Any

import msgspec

from trading.engine.commands import Command

DEADLINE_US = 5_000_000
# A 504 leaves only after the deadline, by which the shard drops the command: a look-up then is final.
GRACE_US = 250_000
MAX_FRAME_COMMANDS = 500
FRAME_FIELD = b"f"
RESEND_CHANNEL = "resend"  # a shard that starts asks every gateway to send again what still waits


def command_stream(slot: int) -> str:
    """The Valkey stream that the owner of a market slot reads."""
    return f"commands:{{{slot}}}"


def outcome_channel(gateway_id: str) -> str:
    """The pub/sub channel on which a gateway hears of its commands."""
    return f"outcomes:{gateway_id}"


class Envelope(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A command with what the shard must know about its sender.

    (`account_id`, `key`) is claimed for ever; `command_hash` tells a repetition from a clash.
    Past `deadline_us` the command is dropped unseen.
    """

    command_id: str
    account_id: str
    key: str
    command_hash: bytes
    deadline_us: int
    actor: str
    request_id: str
    command: Command


class Outcome(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What became of a command.

    `kind` is one of: `order` (payload: OrderView fields), `refused` (payload: [code, OrderView
    fields or None]), `count` (payload: number of orders cancelled), `market` (payload: status),
    `repeat` (payload: [order_id, market_id, same command?, refusal or None]), `missing` (no such market),
    `overloaded` (a gateway's: not sent, since the queue is too long) and `failed` (set aside as a dead letter,
    no effect). `slot` and `offset` name the last event that an answer reflects.
    """

    command_id: str
    kind: str
    slot: int
    offset: int
    payload: Any


class OrderView(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """An order as a commit left it; `fills` are (trade_id, price_pips, shares, fee_pips)."""

    order_id: str
    client_order_id: str | None
    market_id: str
    account_id: str
    outcome: int
    side: str
    order_type: str
    price_pips: int
    quantity_shares: int
    filled_shares: int
    remaining_shares: int
    cost_pips: int
    fees_pips: int
    time_in_force: str
    status: str
    reason: str | None
    fills: list[tuple[str, int, int, int]]
    created_us: int
    updated_us: int
    seq: int
    expires_us: int | None


_encode = msgspec.msgpack.Encoder().encode
_decode_frame = msgspec.msgpack.Decoder(tuple[str, list[Envelope]]).decode
_decode_outcomes = msgspec.msgpack.Decoder(list[Outcome]).decode


def encode_frame(gateway_id: str, envelopes: list[Envelope]) -> bytes:
    """At most MAX_FRAME_COMMANDS envelopes as one stream entry."""
    return _encode((gateway_id, envelopes))


def decode_frame(frame: bytes) -> tuple[str, list[Envelope]]:
    """Reverses `encode_frame`. Raises ValueError for what no gateway has sent."""
    try:
        return _decode_frame(frame)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a command frame: {error}") from error


encode_outcomes = _encode
decode_outcomes = _decode_outcomes
