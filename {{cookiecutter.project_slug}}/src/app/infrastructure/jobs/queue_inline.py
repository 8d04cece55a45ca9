"""Jobs in the process that asked for them, beside the requests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from app.config import Settings
from app.core.ports import Job, Jobs, Mailer
from app.services.handlers import Handlers, common_handlers

logger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class OpenJobs:
    """What takes jobs while the process runs.

    Attributes:
        jobs: Takes them.
    """

    jobs: Jobs


@asynccontextmanager
async def open_jobs(settings: Settings, mailer: Mailer) -> AsyncIterator[OpenJobs]:
    """Yield what takes jobs, and let those under way finish afterwards, within a time limit."""
    jobs = JobQueue(common_handlers(mailer), drain_seconds=settings.jobs.drain_seconds)
    try:
        yield OpenJobs(jobs)
    finally:
        await jobs.drain()


class JobQueue:
    """Does jobs as tasks of the event loop; a crash of the process loses those under way.

    A task begins with the context of whoever asked for it, so its log lines name the request.
    """

    def __init__(self, handlers: Handlers, *, drain_seconds: float) -> None:
        """Do jobs by these handlers.

        Args:
            handlers: Who does which kind.
            drain_seconds: How long those under way may take in the end.
        """
        self._handlers = handlers
        self._drain_seconds = drain_seconds
        self._tasks: set[asyncio.Task[None]] = set()

    async def enqueue(self, job: Job) -> None:
        """Start a job; nobody waits for it."""
        task = asyncio.create_task(self._run(job), name=type(job).__name__)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self) -> None:
        """Wait for the jobs under way, within a time limit, and end the others."""
        tasks = set(self._tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._drain_seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _run(self, job: Job) -> None:
        try:
            await self._handlers.handle(job)
        except Exception:
            logger.exception("job failed", job=type(job).__name__)
