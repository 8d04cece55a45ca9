"""Jobs in the process that asked for them, beside the requests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog

from app.domain.jobs import Job
from app.services.ports import Mailer

_CLOSE_SECONDS: Final = 10.0
log = structlog.stdlib.get_logger(__name__)


class InlineJobs:
    """Does jobs as tasks of the event loop; a crash of the process loses those under way."""

    def __init__(self, mailer: Mailer) -> None:
        """Do jobs with these means."""
        self._mailer = mailer
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def open(cls, mailer: Mailer) -> AsyncIterator["InlineJobs"]:
        """Yield a queue, and let what is under way finish afterwards, within a time limit."""
        jobs = cls(mailer)
        try:
            yield jobs
        finally:
            await jobs.drain()

    async def enqueue(self, job: Job) -> None:
        """Start a job; nobody waits for it."""
        task = asyncio.create_task(self._run(job), name=type(job).__name__)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self) -> None:
        """Wait for the jobs under way, within a time limit, and end the others."""
        tasks = set(self._tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_CLOSE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _run(self, job: Job) -> None:
        try:
            await self._mailer.send(job.mail)
        except Exception:
            log.exception("job failed", job=type(job).__name__)
