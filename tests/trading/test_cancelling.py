"""Tasks that are told to end do, also where a cancellation is lost on the way."""

import asyncio

from trading.cancelling import end_tasks


async def swallowing(item: "asyncio.Queue[int]") -> None:
    """Waits as redis-py does."""
    while True:
        await asyncio.wait_for(item.get(), 60)


async def failing() -> None:
    try:
        await asyncio.sleep(60)
    finally:
        raise ValueError("as it ends")


async def test_all_end_whatever_they_are_about_to_do_then():
    for turns in range(4):
        items: asyncio.Queue[int] = asyncio.Queue()
        tasks = [asyncio.create_task(work) for work in (swallowing(items), failing(), asyncio.sleep(0))]
        await asyncio.sleep(0.01)
        items.put_nowait(1)
        for _ in range(turns):
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await end_tasks(tasks)
        assert all(task.done() for task in tasks)


async def test_there_may_be_none():
    await end_tasks([])
