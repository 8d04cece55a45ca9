"""Jobs in this process: how they end (rules ASY04, APP07)."""

import asyncio

import pytest

from app.core.ports import Job
from app.infrastructure.jobs_in_process import InProcessJobs


class Work:
    """Runs until it may end."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.may_end = asyncio.Event()
        self.done = 0

    async def __call__(self, job: Job) -> None:
        self.started.set()
        await self.may_end.wait()
        self.done += 1


@pytest.fixture
def work() -> Work:
    return Work()


class TestClose:
    async def test_lets_jobs_in_progress_finish_after_an_error_too(self, work: Work) -> None:
        async def fail() -> None:
            async with InProcessJobs.open(work, 10) as jobs:
                await jobs.enqueue(Job())
                await jobs.enqueue(Job())
                asyncio.get_running_loop().call_soon(work.may_end.set)
                raise RuntimeError

        with pytest.raises(RuntimeError):
            await fail()
        assert work.done == 2

    async def test_cancels_jobs_that_take_too_long(self, work: Work) -> None:
        async with InProcessJobs.open(work, 0) as jobs:
            await jobs.enqueue(Job())
            await work.started.wait()
            (task,) = jobs._tasks
        assert task.cancelled()
        assert work.done == 0
