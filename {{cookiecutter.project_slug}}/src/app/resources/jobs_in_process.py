"""Jobs in this process."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from app.config import Settings
from app.core.ports import HealthCheck, Job, Jobs
from app.infrastructure.jobs_in_process import InProcessJobs
from app.infrastructure.metrics import Poll


class JobResources:
    """Jobs, run by tasks of the event loop."""

    jobs: Jobs
    polls: tuple[Poll, ...] = ()

    async def open_jobs(
        self, stack: AsyncExitStack, settings: Settings, run: Callable[[Job], Awaitable[None]]
    ) -> list[HealthCheck]:
        """Open the queue, and return its health checks."""
        jobs = InProcessJobs.open(run, settings.jobs.drain_seconds)
        self.jobs = await stack.enter_async_context(jobs)
        return []
