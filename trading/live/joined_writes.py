"""uvicorn's HTTP protocol with fewer writes: what one turn of the event loop writes to a connection leaves together.

uvicorn writes a response's head and its body apart, each a system call and a packet of its own, which was a
seventh of the fast lane's time. Frames of sockets are joined too, as the upgrade keeps the transport.
"""

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_WAITING = 65_536  # bytes; uvicorn's mark for a client that reads too slowly


class JoinedTransport:
    """A transport that writes at the end of the event loop's turn, or what has become MOST_WAITING at once, so that
    flow control sees it; all else is the inner one's."""

    def __init__(self, inner: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._inner = inner
        self._loop = loop
        self._parts: list[bytes] = []
        self._waiting = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)
        self._waiting += len(data)
        if self._waiting >= MOST_WAITING:
            self._flush()

    def write_shared(self, data: bytes) -> None:
        """Writes at once what is the only thing this turn, as a rule; after what waits, if something does."""
        if self._parts:
            self.write(data)
        else:
            self._inner.write(data)

    def is_closing(self) -> bool:
        return self._inner.is_closing()

    def writelines(self, parts: Iterable[bytes]) -> None:
        for part in parts:
            self.write(part)

    def get_write_buffer_size(self) -> int:
        return self._inner.get_write_buffer_size() + self._waiting

    def close(self) -> None:
        self._flush()
        self._inner.close()

    def _flush(self) -> None:
        parts, self._parts, self._waiting = self._parts, [], 0
        if parts:
            # A connection that the client has reset meanwhile takes nothing any more, and its protocol knows.
            with contextlib.suppress(RuntimeError):
                self._inner.write(b"".join(parts))


class JoinedWritesProtocol(HttpToolsProtocol):
    """For uvicorn's `--http`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(JoinedTransport(transport, self.loop))  # type: ignore[arg-type]
