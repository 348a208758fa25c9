"""Frames that many sockets get: text and wire bytes made once, and a way past the server's per-socket work.

What a server sends is not masked, and nothing is compressed here, so a frame is the same bytes on every connection.
uvicorn would encode it anew for each and wake a task for each; written straight to the connections it costs half.
"""

import socket
from asyncio.transports import BaseTransport
from collections.abc import Callable
from typing import Any, Protocol

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

EXTENSION = "pmarket.wire"
"""In an ASGI scope's `extensions`: the connection's Wire."""

# What the system has not taken by then counts as unread: the socket's frames wait, and are bounded, in its outbox.
MOST_UNSENT = 65_536  # bytes
# What the system may hold for a socket that does not read, where it would grow its buffer to megabytes.
SYSTEM_BUFFER = 131_072  # bytes
_FINAL_TEXT = 0x81


class Frame:
    """One text message. `wire` is the WebSocket frame as a server sends it (RFC 6455, 5.2)."""

    __slots__ = ("_head_bytes", "wire")

    def __init__(self, payload: bytes) -> None:
        head = _head(len(payload))
        self._head_bytes = len(head)
        self.wire = head + payload

    @property
    def text(self) -> str:
        """What it says, for servers that make frames themselves."""
        return self.wire[self._head_bytes :].decode()


def _head(length: int) -> bytes:
    if length < 126:
        return bytes((_FINAL_TEXT, length))
    if length < 65_536:
        return b"\x81\x7e" + length.to_bytes(2, "big")
    return b"\x81\x7f" + length.to_bytes(8, "big")


class Wire(Protocol):
    """Where an open connection takes frames at once."""

    def write(self, frame: Frame) -> bool:
        """Hands a frame to the connection; False, and nothing done, while it has too much unsent or is closing."""

    def abort(self) -> None:
        """Ends the connection at once, whatever is unsent."""


class DirectFramesProtocol(WebSocketsSansIOProtocol):
    """For uvicorn's `--ws`: offers itself as the scope's Wire."""

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SYSTEM_BUFFER)
        self._write: Callable[[bytes], None] = getattr(transport, "write_shared", self.transport.write)

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        scope: Any = getattr(self, "scope", None)
        if scope is not None:
            scope["extensions"][EXTENSION] = self

    def write(self, frame: Frame) -> bool:
        """As Wire has it."""
        transport = self.transport
        if self.close_sent or transport.is_closing() or transport.get_write_buffer_size() > MOST_UNSENT:
            return False
        self._write(frame.wire)
        return True

    def abort(self) -> None:
        """As Wire has it."""
        self.transport.abort()
