"""What takes jobs, with a way to wait for them: the contract of `Jobs` is tried on it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from app.config import Settings
from app.core.ports import Jobs, Mailer
from app.infrastructure.jobs.queue import JobQueue, open_jobs


@asynccontextmanager
async def opened(
    settings: Settings, mailer: Mailer
) -> AsyncIterator[tuple[Jobs, Callable[[], Awaitable[None]]]]:
    """Yield what takes jobs, and what waits until all of them are done."""
    async with open_jobs(settings, mailer) as queue:
        assert isinstance(queue.jobs, JobQueue)
        yield queue.jobs, queue.jobs.drain
