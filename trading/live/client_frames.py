"""Reading what clients send on a socket: the frame's id, what a subscription names, and how many frames are allowed."""

import time
from dataclasses import dataclass
from typing import Any

from trading.errors import InvalidRequest
from trading.live.account_feeds import ACCOUNT
from trading.live.market_feed import MARKET_CHANNELS


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """What one socket may send: a token bucket of frames. No rate means no limit."""

    frames_per_second: float | None = 50.0
    burst: int = 100


class FrameBucket:
    """The tokens of one socket."""

    def __init__(self, limits: SocketLimits) -> None:
        self._limits = limits
        self._tokens = float(limits.burst)
        self._refilled_at = time.monotonic()

    def take(self) -> bool:
        """Takes a token; False if there is none."""
        rate = self._limits.frames_per_second
        if rate is None:
            return True
        now = time.monotonic()
        refill = (now - self._refilled_at) * rate
        self._tokens, self._refilled_at = min(self._limits.burst, self._tokens + refill), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def give_back(self) -> None:
        """The frame is paid for by somebody else."""
        self._tokens = min(self._limits.burst, self._tokens + 1)


def frame_id_of(request: dict[str, Any]) -> int | str:
    """The frame's id, taken out of it: a number or a short string."""
    frame_id = request.pop("id", None)
    if type(frame_id) is int or (type(frame_id) is str and len(frame_id) <= 64):
        return frame_id
    raise InvalidRequest(errors={"id": ["must be an integer or a string of at most 64 characters"]})


def channel_and_market(request: dict[str, Any]) -> tuple[str, str | None]:
    """What a subscribe or unsubscribe is about; market is None for the account channel."""
    channel = text_of("channel", request.pop("channel", None))
    market = request.pop("market_id", None)
    refuse_unknown(request)
    if channel == ACCOUNT:
        if market is not None:
            raise InvalidRequest(errors={"market_id": ["does not go with the account channel"]})
        return channel, None
    if channel not in MARKET_CHANNELS:
        raise InvalidRequest(errors={"channel": ["is not known"]})
    return channel, text_of("market_id", market)


def resume_point(request: dict[str, Any]) -> int | None:
    """The `seq` of the last frame that the client has, if it wants to go on from there; taken out of the request."""
    resume_from = request.pop("resume_from", None)
    if resume_from is None or (type(resume_from) is int and 0 <= resume_from < 2**63):
        return resume_from
    raise InvalidRequest(errors={"resume_from": ["must be the seq of a frame"]})


def text_of(field: str, value: Any) -> str:
    """A string of reasonable length. Raises InvalidRequest."""
    if type(value) is not str or not 0 < len(value) <= 200:
        raise InvalidRequest(errors={field: ["must be a string of 1 to 200 characters"]})
    return value


def refuse_unknown(request: dict[str, Any]) -> None:
    """Nothing may be left of a frame once all that is known of it is taken out."""
    if request:
        raise InvalidRequest(errors={field[:64]: ["is not a known field"] for field in list(request)[:20]})
