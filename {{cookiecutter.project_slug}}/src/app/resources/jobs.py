"""The job queue in Redis."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from app.config import Settings
from app.core.ports import HealthCheck, Job, Jobs
from app.infrastructure.jobs import JobQueue, JobStore, open_job_redis
from app.infrastructure.metrics import Poll


class JobResources:
    """Jobs, run by workers."""

    jobs: Jobs
    job_store: JobStore
    polls: tuple[Poll, ...]

    async def open_jobs(
        self, stack: AsyncExitStack, settings: Settings, run: Callable[[Job], Awaitable[None]]
    ) -> list[HealthCheck]:
        """Open the queue, and return its health checks; workers call `run` themselves."""
        opened = stack.enter_async_context
        redis = await opened(open_job_redis(settings.redis, settings.jobs, guarded=True))
        self.job_store = JobStore(redis, settings.jobs)
        self.polls = (self.job_store.measure,)
        self.jobs = await opened(JobQueue.open(self.job_store, settings.jobs))
        return [HealthCheck("workers", self.job_store.require_worker, required=False)]
