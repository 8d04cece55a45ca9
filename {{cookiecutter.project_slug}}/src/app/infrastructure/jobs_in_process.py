"""Jobs in this process."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

from app.core.ports import Job

logger = structlog.stdlib.get_logger(__name__)


class InProcessJobs:
    """Implements `app.core.ports.Jobs` by tasks of the event loop, which a crash loses.

    The log lines of a job have the context of the request that enqueued it.
    """

    def __init__(self, run: Callable[[Job], Awaitable[None]]) -> None:
        self._run = run
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def open(
        cls, run: Callable[[Job], Awaitable[None]], drain_seconds: float
    ) -> AsyncIterator["InProcessJobs"]:
        """Yield jobs; afterwards, let those in progress finish within a time limit."""
        jobs = cls(run)
        try:
            yield jobs
        finally:
            await jobs.drain(drain_seconds)

    async def enqueue(self, job: Job) -> None:
        """Start a job in the background."""
        task = asyncio.create_task(self._try(job), name=type(job).__name__)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self, seconds: float) -> None:
        """Wait for jobs in progress, and cancel those that take longer."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _try(self, job: Job) -> None:
        try:
            await self._run(job)
        except Exception:
            logger.exception("job failed", job=type(job).__name__)
