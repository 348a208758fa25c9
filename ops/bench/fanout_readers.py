"""Many browsers in one process, as lean as Python allows: raw sockets on epoll that count frames and parse few.

Run as a program: `python -m ops.bench.fanout_readers PORT SOCKETS SUBSCRIBE SILENT SILENT_SUBSCRIBE`. Prints `ready`
when all sockets are open and the readers have had their first frame, and begins to count at each line on its input; at
the next line it prints what it saw as JSON. SILENT of the sockets subscribe to something of their own and never read,
until the end.
"""

import json
import os
import select
import socket
import sys
import time
from typing import Any

SAMPLED_OF = 20
"""One reader in so many has its frames parsed; the others are counted by their headers."""
MASK = b"\x00\x00\x00\x00"
HANDSHAKE_SECONDS = 60.0
SMALL_BUFFER = 4_096
QUIET_SECONDS = 0.05
TEXT, CLOSE, PING = 0x1, 0x8, 0x9


class Reader:
    """One socket's end of the protocol, from the handshake on."""

    def __init__(
        self, port: int, subscribe: str, *, is_sampled: bool = False, takes: int | None = None
    ) -> None:
        self.connection = socket.socket()
        if takes is not None:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, takes)
        self.connection.settimeout(HANDSHAKE_SECONDS)
        self.connection.connect(("127.0.0.1", port))
        self.connection.sendall(
            b"GET /ws/v1 HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        self._rest = b""
        while b"\r\n\r\n" not in self._rest:
            self._rest += self.connection.recv(65_536)
        self._rest = self._rest.partition(b"\r\n\r\n")[2]
        if subscribe:
            self.connection.sendall(client_frame(TEXT, subscribe.encode()))
        self.connection.setblocking(False)
        self.is_sampled = is_sampled
        self.frames = 0
        self.closed: int | None = None
        self.seen: list[tuple[int, float]] = []

    def read(self) -> None:
        """Takes what is there: counts the frames with a number and, if sampled, notes when each came."""
        try:
            data = self.connection.recv(8_192)
        except (BlockingIOError, ConnectionResetError):
            return
        now = time.time()
        if not data:
            self.closed = self.closed or 1006
            return
        data = self._rest + data if self._rest else data
        at, end = 0, len(data)
        while end - at >= 2:
            length, begin = data[at + 1] & 0x7F, at + 2
            if length == 126:
                length, begin = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            elif length == 127:
                length, begin = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            if end < begin + length or (length == 0 and begin > end):
                break
            self._take(data[at] & 0x0F, data, begin, begin + length, now)
            at = begin + length
        self._rest = data[at:]

    def _take(self, opcode: int, data: bytes, begin: int, end: int, now: float) -> None:
        if opcode == TEXT:
            if data.find(b'"seq":', begin, min(end, begin + 120)) < 0:
                return  # an answer or a heartbeat
            self.frames += 1
            if self.is_sampled:
                self.seen.append((json.loads(data[begin:end])["seq"], now))
        elif opcode == PING:
            self.connection.send(client_frame(0xA, data[begin:end]))
        elif opcode == CLOSE:
            self.closed = int.from_bytes(data[begin : begin + 2], "big")


def client_frame(opcode: int, payload: bytes) -> bytes:
    """A short frame, masked with zeros as the protocol allows."""
    assert len(payload) < 65_536
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return bytes([0x80 | opcode]) + size + MASK + payload


class Crowd:
    """All readers of one run, and the sockets that never read."""

    def __init__(self, port: int, sockets: int, subscribe: str, silent: int, silent_subscribe: str) -> None:
        self.silent = [Reader(port, silent_subscribe, takes=SMALL_BUFFER) for _ in range(silent)]
        self._poll = select.epoll()
        self._readers: dict[int, Reader] = {}
        for number in range(sockets - silent):
            reader = Reader(port, subscribe, is_sampled=number % SAMPLED_OF == 0)
            self._readers[reader.connection.fileno()] = reader
            self._poll.register(reader.connection, select.EPOLLIN)
            if number % 50 == 0:
                self.turn(0)
        # It follows what the silent ones follow, and reads.
        self.witness = Reader(port, silent_subscribe) if silent else None
        if self.witness is not None:
            self._poll.register(self.witness.connection, select.EPOLLIN)
        self._poll.register(sys.stdin, select.EPOLLIN)

    def turn(self, timeout_s: float) -> bool:
        """Reads what there is to read; whether a line waits on the input."""
        is_asked = False
        for number, _ in self._poll.poll(timeout_s):
            reader = self._readers.get(number)
            if reader is None and number != sys.stdin.fileno():
                reader = self.witness
            if reader is None:
                is_asked = True
                continue
            reader.read()
            if reader.closed is not None:
                self._poll.unregister(number)
        return is_asked

    def have_begun(self) -> bool:
        return all(reader.frames for reader in self._readers.values())

    def begin(self) -> None:
        for reader in self._readers.values():
            reader.frames = 0
            reader.seen.clear()

    def report(self) -> dict[str, Any]:
        counts = [reader.frames for reader in self._readers.values()]
        for reader in self.silent:
            read_up(reader)
        silent = [reader.frames for reader in self.silent]
        return {
            "frames": sum(counts), "least": min(counts), "most": max(counts),
            "seen": [seen for reader in self._readers.values() for seen in reader.seen],
            "closed": sum(reader.closed is not None for reader in self._readers.values()),
            "silent_least": min(silent, default=0), "silent_most": max(silent, default=0),
            "witness": 0 if self.witness is None else self.witness.frames,
            "silent_closed": sum(reader.closed is not None for reader in self.silent),
        }  # fmt: skip


def read_up(reader: Reader) -> None:
    """Reads what waits for a socket that has not read so far, until nothing comes for a while."""
    quiet_since = time.monotonic()
    while reader.closed is None and time.monotonic() - quiet_since < QUIET_SECONDS:
        before = reader.frames
        reader.read()
        if reader.frames != before:
            quiet_since = time.monotonic()


def main() -> None:
    port, sockets, subscribe, silent, silent_subscribe = sys.argv[1:6]
    crowd = Crowd(int(port), int(sockets), subscribe, int(silent), silent_subscribe)
    deadline = time.monotonic() + HANDSHAKE_SECONDS
    while not crowd.have_begun() and time.monotonic() < deadline:
        crowd.turn(0.05)
    answer("ready" if crowd.have_begun() else "incomplete")
    while True:
        while not crowd.turn(1.0):
            pass
        if not os.read(0, 1):
            return
        crowd.begin()
        while not crowd.turn(1.0):
            pass
        if not os.read(0, 1):
            return
        answer(json.dumps(crowd.report()))


def answer(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
