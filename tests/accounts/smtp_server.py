"""A mail server on this machine that keeps what it is given, and says no where a test wants it."""

import email
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message


@dataclass
class MailServer:
    """`replies` are given instead of the usual ones, by command; `hang_up` ends the connection after a mail."""

    port: int = 0
    mails: list[Message] = field(default_factory=list)
    replies: dict[str, str] = field(default_factory=dict)
    hang_up: bool = False
    connections: int = 0
    came: threading.Condition = field(default_factory=threading.Condition)


@contextmanager
def mail_server(port: int = 0) -> Iterator[MailServer]:
    served = MailServer()

    class Conversation(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            served.connections += 1
            self._say("220 here")
            while line := self.rfile.readline():
                command = line.decode().strip().split(" ")[0].upper()
                if command == "QUIT":
                    self._say("221 bye")
                    return
                if command in served.replies:
                    self._say(served.replies[command])
                elif command == "DATA":
                    self._say("354 go on")
                    self._read_mail()
                    if served.hang_up:
                        return
                    self._say("250 taken")
                else:
                    self._say("250 ok")

        def _read_mail(self) -> None:
            lines = []
            while (line := self.rfile.readline()) not in (b".\r\n", b""):
                lines.append(line.removeprefix(b"."))
            with served.came:
                served.mails.append(email.message_from_bytes(b"".join(lines)))
                served.came.notify_all()

        def _say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", port), Conversation) as server:
        served.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join(5)
