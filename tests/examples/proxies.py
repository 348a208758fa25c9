"""What can go wrong between a client and the exchange: connections are cut, frames are lost."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed


class Wire:
    """A TCP proxy. `fate` is what the next requests meet: "pass", "cut" (it gets through, the answer is lost and the
    connection ends), "hang" (it gets through, and no answer ever comes), "lose" (it never gets through)."""

    def __init__(self) -> None:
        self.fate: list[str] = []
        self.url = ""
        self.held = asyncio.Event()
        """Set once an answer has been held back or cut off: the exchange has done what was asked."""

    async def attend(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")),
                    0,
                )  # fmt: skip
                request = head + await reader.readexactly(length)
                fate = self.fate.pop(0) if self.fate else "pass"
                if fate == "lose":
                    break
                upstream.write(request)
                answer = await upstream_reader.read(1_000_000)
                if fate != "pass":
                    self.held.set()
                    if fate == "hang":
                        await reader.read()
                    break
                writer.write(answer)
        upstream.close()
        writer.close()


@asynccontextmanager
async def wire_to(port: int) -> AsyncIterator[Wire]:
    """A Wire to a port of this machine; its `url` is what to talk to instead."""
    wire = Wire()
    server = await asyncio.start_server(lambda *ends: wire.attend(port, *ends), "127.0.0.1", 0)
    wire.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield wire
    finally:
        server.close()


@asynccontextmanager
async def lossy_feed(url: str, is_lost: Callable[[str], bool]) -> AsyncIterator[str]:
    """The address of a WebSocket that passes everything on but the frames from the server that `is_lost` picks."""

    async def attend(client: ServerConnection) -> None:
        async with connect(url, max_size=None) as upstream:

            async def back() -> None:
                async for message in upstream:
                    if not is_lost(str(message)):
                        await client.send(message)

            returning = asyncio.create_task(back())
            with contextlib.suppress(ConnectionClosed):
                async for message in client:
                    await upstream.send(message)
            returning.cancel()
            await asyncio.gather(returning, return_exceptions=True)

    async with serve(attend, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws/v1"
