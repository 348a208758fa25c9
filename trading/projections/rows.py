"""Rows that are new, as one INSERT a table.

COPY would cost a few microseconds less a row, but it has to be waited for, and a round of the projector writes into
nine tables.
"""

from functools import lru_cache

from trading.eventlog.codec import timestamp_text

# Thousands of events share the moment of their batch.
moment = lru_cache(maxsize=1024)(timestamp_text)


def insertion(table: str, **types: str) -> str:
    """The statement for rows that are given as one array a column (trading.array_literals.columns)."""
    arrays = ", ".join(f"%s::{type_}[]" for type_ in types.values())
    return f'INSERT INTO "{table}" ({", ".join(types)}) SELECT * FROM unnest({arrays})'  # noqa: S608
