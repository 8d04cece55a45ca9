"""The job queue in Redis."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack

from app.config import Settings
from app.core.ports import HealthCheck, Job
from app.infrastructure.database import Database
from app.infrastructure.jobs import JobStore, QueueRelay, open_job_redis
from app.infrastructure.metrics import Poll
from app.infrastructure.outbox import Relay


class JobResources:
    """Jobs, run by workers."""

    relay: Relay
    job_store: JobStore
    polls: tuple[Poll, ...]

    async def open_jobs(
        self,
        stack: AsyncExitStack,
        settings: Settings,
        database: Database,
        kinds: Mapping[str, type[Job]],
        run: Callable[[Job], Awaitable[None]],
    ) -> list[HealthCheck]:
        """Open the queue, and return its health checks; workers call `run` themselves."""
        opening = open_job_redis(settings.redis, settings.jobs, guarded=True)
        redis = await stack.enter_async_context(opening)
        self.job_store = JobStore(redis, settings.jobs)
        self.relay = QueueRelay(database, kinds, self.job_store)
        self.polls = (self.relay.measure, self.job_store.measure)
        return [HealthCheck("workers", self.job_store.require_worker, required=False)]
