"""PostgreSQL array literals for the statements of every batch.

psycopg's own dumping of lists looks at each element with regular expressions, which took a tenth
of a batch's time. Here the elements are ids and numbers, or texts that the caller has quoted.
"""

from collections.abc import Iterable


def array_of(elements: Iterable[str | int]) -> str:
    """`{a,b,c}` of elements that hold no comma, brace, quote, backslash or space."""
    return "{" + ",".join(map(str, elements)) + "}"
