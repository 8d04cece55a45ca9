"""The job queue of this variant, for its contract."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from app.config import Settings
from app.core.ports import Job, Jobs
from app.infrastructure.jobs_in_process import InProcessJobs
from tests.support.waiting import PATIENCE


@asynccontextmanager
async def opened(
    settings: Settings, run: Callable[[Job], Awaitable[None]]
) -> AsyncIterator[tuple[Jobs, Callable[[], Awaitable[None]]]]:
    """Yield jobs, and a function that waits until all are done."""
    async with InProcessJobs.open(run, settings.jobs.drain_seconds) as jobs:
        yield jobs, lambda: jobs.drain(PATIENCE)
