"""Remembers, on disk, each write that was sent and is not known to have been answered.

A line before it is sent, another when it was answered; what has no second line is sent again, with the
ids it carries, by the next process. That can never do it twice: ids are unique for ever.
"""

from pathlib import Path
from typing import Any, NamedTuple

import msgspec

REWRITE_AFTER_LINES = 5_000


class Write(NamedTuple):
    """A POST as it will be sent, and sent again: who, where, what."""

    number: str
    username: str
    path: str
    body: dict[str, Any]


class Journal:
    """Open one at a time for a file; a second process with the same file is a mistake."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: dict[str, Write] = _unanswered(path)
        self._lines = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._rewrite()

    def left_over(self) -> list[Write]:
        """What an earlier process sent without learning the answer, oldest first."""
        return list(self._open.values())

    def begin(self, write: Write) -> None:
        """Must return before the write is sent."""
        self._open[write.number] = write
        self._append(write)

    def end(self, write: Write) -> None:
        """It was answered, whatever the answer was."""
        self._open.pop(write.number, None)
        self._append([write.number])

    def close(self) -> None:
        self._file.close()

    def _append(self, line: object) -> None:
        self._file.write(msgspec.json.encode(line) + b"\n")
        self._file.flush()
        self._lines += 1
        if self._lines > REWRITE_AFTER_LINES:
            self._file.close()
            self._rewrite()

    def _rewrite(self) -> None:
        """Forget what was answered. The new file takes the old one's place whole."""
        fresh = self._path.with_suffix(".new")
        fresh.write_bytes(b"".join(msgspec.json.encode(write) + b"\n" for write in self._open.values()))
        fresh.replace(self._path)
        self._file = self._path.open("ab")
        self._lines = 0


def _unanswered(path: Path) -> dict[str, Write]:
    """A torn last line was never sent: its write had not returned."""
    found: dict[str, Write] = {}
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            number, *rest = msgspec.json.decode(line)
        except (msgspec.DecodeError, ValueError):
            continue
        if rest:
            found[number] = Write(number, *rest)
        else:
            found.pop(number, None)
    return found
