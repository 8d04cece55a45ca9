"""Connections are given out in order of arrival, also when tasks are cancelled."""

import asyncio
from collections.abc import Callable

import pytest

from app.config import Settings
from app.infrastructure.database.pool import FairQueue
from tests.support.models import open_database
from tests.support.waiting import PATIENCE


async def asked(queue: FairQueue) -> "asyncio.Task[object]":
    """A task that waits in a queue."""
    task = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    return task


class TestFairQueue:
    async def test_returns_items_and_is_bounded(self) -> None:
        queue = FairQueue(2)
        queue.put_nowait("first")
        queue.put_nowait("second")

        with pytest.raises(asyncio.QueueFull):
            queue.put_nowait("third")
        assert [await queue.get(), await queue.get()] == ["first", "second"]

    async def test_serves_the_longest_waiting_task_first(self) -> None:
        queue = FairQueue(1)
        first, second = await asked(queue), await asked(queue)

        queue.put_nowait("one")

        assert queue.empty()  # nobody who comes now can have it
        assert await first == "one"
        assert not second.done()
        queue.put_nowait("two")
        assert await second == "two"

    @pytest.mark.parametrize("is_late", [False, True])
    async def test_passes_on_items_of_cancelled_tasks(self, is_late: bool) -> None:
        queue = FairQueue(1)
        first, second = await asked(queue), await asked(queue)
        if is_late:
            queue.put_nowait("one")
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        if not is_late:
            queue.put_nowait("one")

        assert await second == "one"

    async def test_keeps_items_without_waiters(self) -> None:
        queue = FairQueue(1)
        gone = await asked(queue)

        queue.put_nowait("one")
        gone.cancel()

        with pytest.raises(asyncio.CancelledError):
            await gone
        assert queue.get_nowait() == "one"


class TestPool:
    async def test_does_not_let_new_requests_overtake(
        self, make_settings: Callable[..., Settings], database_url: str
    ) -> None:
        served: list[str] = []
        is_busy = asyncio.Event()

        async def read(name: str) -> None:
            async with database.read():
                served.append(name)

        async def come_back() -> None:
            while "patient" not in served:
                await read("greedy")
                is_busy.set()

        settings = make_settings(database_url, database={"pool_size": 1})
        async with (
            asyncio.timeout(PATIENCE),
            open_database(settings) as database,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(3):
                group.create_task(come_back())
            await is_busy.wait()
            group.create_task(read("patient"))

        assert served.index("patient") < 10
