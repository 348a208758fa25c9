"""Simulated time: one event loop and one thread for everything, where waiting costs nothing.

Gateways and clients run on it as asyncio code, shards as processes of greenlets: what they call blocks them, and them
alone, until the loop wakes them. Events of the same moment happen in the order in which they were asked for.
"""

import asyncio
import concurrent.futures
import heapq
from collections.abc import Callable, Collection
from typing import Any

import greenlet

START_US = 1_800_000_000_000_000


class SimulatedCrash(BaseException):
    """The end of a process: no handler of its own may see it as an error."""


class Handle:
    """Something that will happen, unless it is cancelled."""

    __slots__ = ("arguments", "callback", "context", "is_cancelled", "when_us")

    def __init__(
        self, when_us: int, callback: Callable[..., object], arguments: tuple[Any, ...], context: Any
    ) -> None:
        self.when_us = when_us
        self.callback: Callable[..., object] | None = callback
        self.arguments = arguments
        self.context = context
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True
        self.callback, self.arguments = None, ()

    def cancelled(self) -> bool:
        return self.is_cancelled

    def when(self) -> float:
        return self.when_us / 1e6


class VirtualLoop(asyncio.AbstractEventLoop):
    """An event loop whose clock moves from one event to the next. `now_us` is microseconds since the epoch."""

    def __init__(self) -> None:
        self.now_us = START_US
        self.failure: BaseException | None = None
        self._heap: list[tuple[int, int, Handle]] = []
        self._number = 0
        self._is_stopping = False

    # --- What asyncio asks of a loop ----------------------------------------------------------------

    def time(self) -> float:
        return self.now_us / 1e6

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_soon(self, callback: Any, *arguments: Any, context: Any = None) -> Any:
        return self.at(self.now_us, callback, *arguments, context=context)

    def call_later(self, delay: float, callback: Any, *arguments: Any, context: Any = None) -> Any:
        return self.at(self.now_us + max(0, round(delay * 1e6)), callback, *arguments, context=context)

    def call_at(self, when: float, callback: Any, *arguments: Any, context: Any = None) -> Any:
        return self.at(max(self.now_us, round(when * 1e6)), callback, *arguments, context=context)

    def create_future(self) -> Any:
        return asyncio.Future(loop=self)

    def create_task(self, coroutine: Any, *, name: str | None = None, context: Any = None) -> Any:
        return asyncio.Task(coroutine, loop=self, name=name, context=context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.fail(error if error is not None else RuntimeError(str(context)))

    # --- The clock ----------------------------------------------------------------------------------

    def at(
        self, when_us: int, callback: Callable[..., object], *arguments: Any, context: Any = None
    ) -> Handle:
        """Has something happen at a moment."""
        handle = Handle(when_us, callback, arguments, context)
        self._number += 1
        heapq.heappush(self._heap, (when_us, self._number, handle))
        return handle

    def after(self, delay_us: int, callback: Callable[..., object], *arguments: Any) -> Handle:
        return self.at(self.now_us + delay_us, callback, *arguments)

    def fail(self, error: BaseException) -> None:
        """Ends the run with an error."""
        if self.failure is None:
            self.failure = error
        self._is_stopping = True

    def stop(self) -> None:
        self._is_stopping = True

    def run(self, until_us: int) -> None:
        """Works through what happens until then, or until `stop`. Raises what `fail` was told."""
        self._is_stopping = False
        heap = self._heap
        asyncio.events._set_running_loop(self)
        try:
            while heap and not self._is_stopping and heap[0][0] <= until_us:
                when_us, _, handle = heapq.heappop(heap)
                callback = handle.callback
                if callback is None:
                    continue
                if when_us > self.now_us:
                    self.now_us = when_us
                if handle.context is None:
                    callback(*handle.arguments)
                else:
                    handle.context.run(callback, *handle.arguments)
        finally:
            asyncio.events._set_running_loop(None)
        if self.failure is not None:
            raise self.failure
        if not self._is_stopping:
            self.now_us = max(self.now_us, until_us)


class Process:
    """An operating system's process: threads (greenlets) that block, and end all at once."""

    def __init__(self, loop: VirtualLoop, name: str) -> None:
        self.loop = loop
        self.name = name
        self.is_dead = False
        self.frozen_until_us = 0
        self.on_end: list[Callable[[], object]] = []
        self._hub = greenlet.getcurrent()
        self._threads: dict[greenlet.greenlet, Any] = {}  # each with what it waits for

    def start(self, target: Callable[..., object], *arguments: Any) -> None:
        """Runs a function in a thread of this process."""
        thread = greenlet.greenlet(self._main, self._hub)
        self._threads[thread] = None
        self.loop.at(self.loop.now_us, self._wake, thread, (target, *arguments))

    def _main(self, target: Callable[..., object], *arguments: Any) -> None:
        try:
            target(*arguments)
        except SimulatedCrash:
            pass
        except BaseException as error:
            self.loop.fail(error)
        finally:
            self._threads.pop(greenlet.getcurrent(), None)

    def _wake(self, thread: greenlet.greenlet, value: Any) -> None:
        if self.is_dead or thread not in self._threads:
            return
        if self.frozen_until_us > self.loop.now_us:
            self.loop.at(self.frozen_until_us, self._wake, thread, value)
            return
        if thread:  # it has begun
            thread.switch(value)
        else:
            thread.switch(*value)

    def pause(self, delay_us: int) -> None:
        """Blocks the calling thread."""
        thread = greenlet.getcurrent()
        self.loop.after(delay_us, self._wake, thread, None)
        self._block()

    def waiter(self) -> Callable[..., None]:
        """A function that wakes the calling thread out of the `block` that is to follow; once, however often called."""
        thread, loop, done = greenlet.getcurrent(), self.loop, False

        def wake(value: Any = None) -> None:
            nonlocal done
            if not done:
                done = True
                loop.at(loop.now_us, self._wake, thread, value)

        return wake

    def block(self) -> Any:
        """Until the thread's waiter is called; answers its argument."""
        return self._block()

    def _block(self) -> Any:
        if self.is_dead:
            raise SimulatedCrash(self.name)
        value = self._hub.switch()
        if self.is_dead:
            raise SimulatedCrash(self.name)
        return value

    def kill(self) -> None:
        """Ends the process at once, from within or from outside. From within it does not return."""
        if self.is_dead:
            return
        self.is_dead = True
        for callback in self.on_end:
            callback()
        current = greenlet.getcurrent()
        for thread in list(self._threads):
            if thread is not current and thread:
                # It unwinds now, not whenever its memory is freed; whatever it calls meanwhile raises as well.
                thread.parent = current
                thread.throw(SimulatedCrash(self.name))
        if current in self._threads:
            raise SimulatedCrash(self.name)


class Job(concurrent.futures.Future[Any]):
    """A future that blocks the simulated thread alone."""

    def __init__(self, process: Process) -> None:
        super().__init__()
        self._process = process

    def await_end(self) -> None:
        if not self.done():
            wake = self._process.waiter()
            self.add_done_callback(wake)
            self._process.block()

    def result(self, timeout: float | None = None) -> Any:
        self.await_end()
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self.await_end()
        return super().exception(0)


class Writers:
    """The shard's pool of writers: each job is a thread of its process."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def submit(self, job: Callable[..., Any], *arguments: Any) -> Job:
        future = Job(self._process)

        def work() -> None:
            try:
                future.set_result(job(*arguments))
            except Exception as error:
                future.set_exception(error)

        self._process.start(work)
        return future

    def wait(self, jobs: Collection[Job]) -> None:
        """As concurrent.futures.wait: until all of them have ended."""
        for job in jobs:
            job.await_end()

    def shutdown(self) -> None:
        """Nothing is left to do."""
