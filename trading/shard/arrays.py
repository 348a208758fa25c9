"""PostgreSQL array literals for the statements of every batch.

psycopg's own dumping of lists looks at each element with regular expressions, which took a tenth
of a batch's time. Here the elements are ids and numbers, or texts that went through `quoted`.
"""

from collections.abc import Iterable


def array_of(elements: Iterable[str | int]) -> str:
    """`{a,b,c}` of elements that hold no comma, brace, quote, backslash or space."""
    return "{" + ",".join(map(str, elements)) + "}"


def bytea(value: bytes) -> str:
    """An element of an array of bytea."""
    return f'"\\\\x{value.hex()}"'


def quoted(text: str) -> str:
    """An element of any text, a bare NULL or a JSON document too."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
