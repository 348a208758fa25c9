"""What a market must be like before anybody may be asked to trade it: the rules of its words and terms.

Pure judgement, no I/O: `checked_market` answers it as it will stand, or InvalidRequest with every field
that will not do. The API, the admin and the demo all come through here.
"""

import datetime as dt
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace

from markets.models import (
    CATEGORY_MAX,
    OUTCOME_NAME_MAX,
    OUTCOMES_MAX,
    OUTCOMES_MIN,
    QUESTION_MAX,
    QUESTION_MIN,
    TEXT_MAX,
)
from trading.errors import InvalidRequest
from trading.money import SHARE_PIPS

DEFAULT_TICK_PIPS = 100
MAX_FEE_E4 = 10_000
MAX_CLOSING = dt.timedelta(days=365 * 50)

RESERVED_OUTCOME_NAMES = frozenset({"volume", "open_interest"})
"""Keys of the ticker that stand beside the outcomes' names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMarket:
    """A market as somebody wants it. Fees are in ten-thousandths (700 is 7 %), the tick in pips."""

    question: str
    resolution_criteria: str
    category: str
    outcomes: tuple[str, ...]
    closes_at: dt.datetime
    opens_at: dt.datetime | None = None
    description: str = ""
    tick_pips: int = DEFAULT_TICK_PIPS
    taker_fee_e4: int = 0
    maker_fee_e4: int = 0


def checked_market(new: NewMarket, *, now: dt.datetime) -> NewMarket:
    """The market with its texts trimmed. Raises InvalidRequest naming each field that breaks a rule."""
    new = replace(
        new,
        question=new.question.strip(),
        description=_lines(new.description),
        resolution_criteria=_lines(new.resolution_criteria),
        category=new.category.strip(),
        outcomes=tuple(name.strip() for name in new.outcomes),
    )
    errors = {
        "question": _line_error(new.question, least=QUESTION_MIN, most=QUESTION_MAX),
        "description": _text_error(new.description, least=0, most=TEXT_MAX),
        "resolution_criteria": _text_error(new.resolution_criteria, least=1, most=TEXT_MAX),
        "category": _line_error(new.category, least=1, most=CATEGORY_MAX),
        "outcomes": _outcomes_error(new.outcomes),
        "closes_at": _closing_error(new, now),
        "opens_at": _opening_error(new),
        "tick": _tick_error(new.tick_pips),
        "taker_fee": _fee_error(new.taker_fee_e4),
        "maker_fee": _fee_error(new.maker_fee_e4),
    }
    found = {field: [error] for field, error in errors.items() if error is not None}
    if found:
        raise InvalidRequest(errors=found)
    return new


def checked_line(text: str, *, field: str, most: int, least: int = 0) -> str:
    """One line of text, trimmed. Raises InvalidRequest naming `field`."""
    text = text.strip()
    if error := _line_error(text, least=least, most=most):
        raise InvalidRequest(errors={field: [error]})
    return text


def checked_text(text: str, *, field: str, most: int, least: int = 0) -> str:
    """Text of any number of lines, trimmed. Raises InvalidRequest naming `field`."""
    text = _lines(text)
    if error := _text_error(text, least=least, most=most):
        raise InvalidRequest(errors={field: [error]})
    return text


def _lines(text: str) -> str:
    """Browsers send CRLF; a text has one kind of line end."""
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def _line_error(text: str, *, least: int, most: int) -> str | None:
    if "\n" in text or "\t" in text:
        return "Must be one line."
    return _text_error(text, least=least, most=most)


def _text_error(text: str, *, least: int, most: int) -> str | None:
    if not least <= len(text) <= most:
        return f"Must be {least} to {most} characters long."
    if any(unicodedata.category(letter) in ("Cc", "Cs") and letter not in "\n\t" for letter in text):
        return "Must not hold control characters."
    return None


def _outcomes_error(names: Sequence[str]) -> str | None:
    if not OUTCOMES_MIN <= len(names) <= OUTCOMES_MAX:
        return f"There must be {OUTCOMES_MIN} to {OUTCOMES_MAX} outcomes."
    for name in names:
        if error := _line_error(name, least=1, most=OUTCOME_NAME_MAX):
            return error
        if name.lower() in RESERVED_OUTCOME_NAMES:
            return f"An outcome cannot be called {name!r}."
    if len({_folded(name) for name in names}) != len(names):
        return "Outcomes must differ by more than upper and lower case."
    return None


def _folded(name: str) -> str:
    """What two names have in common if people would take them for the same."""
    return unicodedata.normalize("NFKC", " ".join(name.split())).casefold()


def _closing_error(new: NewMarket, now: dt.datetime) -> str | None:
    if new.closes_at <= now:
        return "Must be in the future."
    if new.closes_at > now + MAX_CLOSING:
        return "Must be within fifty years."
    return None


def _opening_error(new: NewMarket) -> str | None:
    if new.opens_at is not None and new.opens_at >= new.closes_at:
        return "Must be before closes_at."
    return None


def _tick_error(tick_pips: int) -> str | None:
    # A tick of a whole share leaves no price between 0 and 1.
    if 0 < tick_pips < SHARE_PIPS and SHARE_PIPS % tick_pips == 0:
        return None
    return "Must divide 1.0000 evenly and be below it."


def _fee_error(rate_e4: int) -> str | None:
    return None if 0 <= rate_e4 <= MAX_FEE_E4 else "Must be 0.0000 to 1.0000."
