"""A market's whole state as comparable text, to tell whether two states are equal."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from trading.engine.market import Market

# The publisher empties it whenever it likes, so it is not part of what a log decides.
NOT_STATE = {"touched"}


def state_facts(market: Market) -> dict[str, Any]:
    """Every attribute of the market and all it holds, whatever attributes there are."""
    return {name: _facts(getattr(market, name)) for name in _attributes(market) if name not in NOT_STATE}


def state_digest(market: Market) -> str:
    """SHA-256 of the facts."""
    return hashlib.sha256(json.dumps(state_facts(market), sort_keys=True).encode()).hexdigest()


def _facts(value: Any) -> Any:
    if isinstance(value, dict):
        # In their order: which order is the older one decides what is matched and swept first.
        return [[_facts(key), _facts(item)] for key, item in value.items()]
    if isinstance(value, list | tuple):
        return [_facts(item) for item in value]
    if value is None or isinstance(value, int | str | bool):
        return value
    assert type(value).__module__.startswith("trading.engine."), f"cannot compare {type(value)}"
    return {name: _facts(getattr(value, name)) for name in _attributes(value)}


def _attributes(value: Any) -> Sequence[str]:
    """Names, however the class keeps its values: compiled, in slots or in a dictionary."""
    kind = type(value)
    return getattr(kind, "__mypyc_attrs__", None) or getattr(kind, "__slots__", None) or list(vars(value))
