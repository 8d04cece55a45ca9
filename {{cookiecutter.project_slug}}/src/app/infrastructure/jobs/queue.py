"""Jobs for the workers, through Redis."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from app.config import Settings
from app.core.config import JobSettings
from app.core.health import HealthCheck
from app.core.ids import new_id
from app.core.ports import Job, Jobs, Mailer
from app.domain.tracking import JobId, QueueUnavailable, TrackedJob
from app.domain.users import UserId
from app.infrastructure.jobs.connection import open_job_redis
from app.infrastructure.jobs.payloads import Packed, packed
from app.infrastructure.jobs.store import JobStore
from app.infrastructure.redis.breaker import Breaker
from app.services.jobs import TrackedJobs

_SECONDS_TO_NEXT_TRY: Final = 1.0
logger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class OpenJobs:
    """What takes jobs while the process runs.

    Attributes:
        jobs: Takes them.
        tracked: Takes those that somebody asks about.
        health_checks: What `/ready` asks of it.
    """

    jobs: Jobs
    tracked: TrackedJobs
    health_checks: tuple[HealthCheck, ...]


@asynccontextmanager
async def open_jobs(settings: Settings, mailer: Mailer) -> AsyncIterator[OpenJobs]:
    """Yield what takes jobs, and hand over what Redis did not take until then.

    Args:
        settings: Where Redis is, and how patient we are.
        mailer: Not used: workers send the mails.
    """
    del mailer
    breaker = Breaker(settings.redis.breaker_failures, settings.redis.breaker_seconds)
    async with open_job_redis(settings, breaker) as redis:
        jobs = JobQueue(JobStore(redis, settings.jobs), settings.jobs)
        checks = (HealthCheck("workers", jobs.store.require_worker, required=False),)
        try:
            yield OpenJobs(jobs, jobs, checks)
        finally:
            await jobs.drain()


class JobQueue:
    """Writes jobs to Redis, where workers find them.

    What is asked for after a commit has no answer to fail any more. If Redis does not take such a
    job, this process keeps it, tries again until it does, and goes on meanwhile. It is lost if the
    process is killed, or ends while Redis stays away, or has more of them than it may keep; the
    last two are logged.
    """

    def __init__(self, store: JobStore, settings: JobSettings) -> None:
        """Write to this store."""
        self.store = store
        self.seconds_to_next_try = _SECONDS_TO_NEXT_TRY
        self._settings = settings
        self._kept: deque[tuple[str, Packed]] = deque()
        self._resending: asyncio.Task[None] | None = None

    async def enqueue(self, job: Job) -> None:
        """Take a job, whether or not Redis is there."""
        job_id, package = str(new_id()), packed(job)
        if not self._kept:  # else it is known that Redis is away: nobody should wait for that
            try:
                await self.store.submit(job_id, package)
            except QueueUnavailable as error:
                logger.warning("job kept", job=package.kind, job_id=job_id, facts=error.context)
            else:
                return
        self._keep(job_id, package)

    async def submit(self, job_id: JobId, job: Job, *, owner_id: UserId, unique: str) -> JobId:
        """Take a job that somebody will ask about; see `app.services.jobs.TrackedJobs`."""
        taken = await self.store.submit(str(job_id), packed(job), owner_id=owner_id, unique=unique)
        return JobId(UUID(taken))

    async def find(self, job_id: JobId) -> TrackedJob | None:
        """Return a job that somebody owns."""
        return await self.store.find(job_id)

    async def cancel(self, job_id: JobId) -> None:
        """End a job."""
        await self.store.cancel(job_id)

    async def drain(self) -> None:
        """Try on for a while to hand over what is kept, and tell what is lost."""
        if self._resending is None:
            return
        _, late = await asyncio.wait({self._resending}, timeout=self._settings.drain_seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        for job_id, package in self._kept:
            logger.error("job lost", job=package.kind, job_id=job_id)

    def _keep(self, job_id: str, package: Packed) -> None:
        if len(self._kept) >= self._settings.backlog:
            logger.error("job lost", job=package.kind, job_id=job_id)
            return
        self._kept.append((job_id, package))
        if self._resending is None:
            self._resending = asyncio.create_task(self._resend(), name="jobs-resend")

    async def _resend(self) -> None:
        """Hand over what is kept, in the order in which it was asked for."""
        # In order: jobs may follow from one another.
        while self._kept:
            await asyncio.sleep(self.seconds_to_next_try)
            with suppress(QueueUnavailable):
                # In order: as above, until Redis is away once more.
                while self._kept:
                    job_id, package = self._kept[0]
                    await self.store.submit(job_id, package)
                    self._kept.popleft()
                    logger.info("job handed over", job=package.kind, job_id=job_id)
        self._resending = None
