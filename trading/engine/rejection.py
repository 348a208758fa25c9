"""Why the engine refuses, in order of precedence: the first rule that applies is the answer."""

from enum import StrEnum


class RejectReason(StrEnum):
    """The values are the public codes of the API; earlier members win over later ones."""

    MARKET_NOT_OPEN = "market_not_open"
    EXPIRED = "expired"
    CANCELLED_BY_OWNER = "cancelled_by_owner"  # overtaken by a cancel-all that was sent after it
    OFF_TICK = "off_tick"
    EXCEEDS_LIMITS = "exceeds_limits"
    WOULD_CROSS = "would_cross"
    CANNOT_FILL = "cannot_fill"
    REDUCE_ONLY = "reduce_only"
    EXCEEDS_AVAILABLE_CASH = "exceeds_available_cash"
    ORDER_NOT_OPEN = "order_not_open"
    NOT_FOUND = "not_found"
    SECOND_PERSON_NEEDED = "second_person_needed"
    NOT_A_HOLDER = "not_a_holder"
    NOT_SUPPORTED = "not_supported"
