"""What one turn of the event loop writes to a connection leaves in one write, in order, before it closes."""

import asyncio

from trading.live.joined_writes import MOST_WAITING, JoinedTransport


class Written:
    """An inner transport that remembers what was done to it."""

    def __init__(self) -> None:
        self.done: list[bytes | str] = []

    def write(self, data: bytes) -> None:
        self.done.append(data)

    def close(self) -> None:
        self.done.append("closed")

    def get_write_buffer_size(self) -> int:
        return 100

    def pause_reading(self) -> None:
        self.done.append("paused")


async def test_writes_of_one_turn_leave_together_and_in_order():
    inner = Written()
    transport = JoinedTransport(inner, asyncio.get_running_loop())
    transport.write(b"head ")
    transport.writelines([b"body", b"!"])
    assert (inner.done, transport.get_write_buffer_size()) == ([], 110)
    await asyncio.sleep(0)
    transport.write(b"next")
    await asyncio.sleep(0)
    assert inner.done == [b"head body!", b"next"]
    assert transport.get_write_buffer_size() == 100


async def test_what_was_written_leaves_before_the_connection_closes():
    inner = Written()
    transport = JoinedTransport(inner, asyncio.get_running_loop())
    transport.write(b"last words")
    transport.close()
    await asyncio.sleep(0)
    assert inner.done == [b"last words", "closed"]


async def test_much_leaves_at_once_so_that_flow_control_sees_it():
    inner = Written()
    transport = JoinedTransport(inner, asyncio.get_running_loop())
    transport.write(b"x" * (MOST_WAITING - 1))
    assert inner.done == []
    transport.write(b"y")
    assert inner.done == [b"x" * (MOST_WAITING - 1) + b"y"]
    transport.write(b"z")
    await asyncio.sleep(0)
    assert inner.done[1:] == [b"z"]


async def test_what_a_client_has_reset_takes_nothing_and_breaks_nothing():
    class Gone(Written):
        def write(self, data: bytes) -> None:
            raise RuntimeError("the handler is closed")

    loop, troubles = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _, context: troubles.append(context))
    JoinedTransport(Gone(), loop).write(b"too late")
    await asyncio.sleep(0)
    assert troubles == []


async def test_everything_else_is_the_inner_transports():
    inner = Written()
    JoinedTransport(inner, asyncio.get_running_loop()).pause_reading()
    assert inner.done == ["paused"]
