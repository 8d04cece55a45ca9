"""Enqueues jobs, and keeps them while Redis is unavailable."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final
from uuid import UUID

import structlog

from app.core.config import JobSettings
from app.core.ids import new_id
from app.core.jobs import QueueUnavailable
from app.core.ports import Job
from app.infrastructure.jobs.payloads import Message, message
from app.infrastructure.jobs.store import JobStore

_RETRY_SECONDS: Final = 1.0
logger = structlog.stdlib.get_logger(__name__)


class JobQueue:
    """Implements `app.core.ports.Jobs`.

    A job enqueued after a commit has no response left to fail. If Redis does not take it, this
    process keeps it in memory and retries. The job is lost, and mostly logged, if the process is
    killed, ends before Redis is back, or has too many of them.
    """

    def __init__(self, store: JobStore, settings: JobSettings) -> None:
        self.retry_seconds = _RETRY_SECONDS
        self._store = store
        self._settings = settings
        self._backlog: deque[tuple[UUID, Message]] = deque()
        self._resending: asyncio.Task[None] | None = None

    @classmethod
    @asynccontextmanager
    async def open(cls, store: JobStore, settings: JobSettings) -> AsyncIterator["JobQueue"]:
        """Yield a queue; afterwards, submit its backlog within a time limit."""
        queue = cls(store, settings)
        try:
            yield queue
        finally:
            await queue.drain()

    async def enqueue(self, job: Job) -> None:
        """Submit a job, or keep it if Redis is unavailable."""
        job_id, sent = new_id(), message(job)
        if not self._backlog:  # else Redis is known to be unavailable
            try:
                await self._store.submit(job_id, sent)
            except QueueUnavailable as error:
                logger.warning("job deferred", job=sent.kind, job_id=str(job_id), **error.context)
            else:
                return
        if len(self._backlog) >= self._settings.backlog:
            logger.error("job lost", job=sent.kind, job_id=str(job_id))
            return
        self._backlog.append((job_id, sent))
        if self._resending is None:
            self._resending = asyncio.create_task(self._resend(), name="jobs-resend")

    async def drain(self) -> None:
        """Submit the backlog within a time limit, and log lost jobs."""
        if self._resending is None:
            return
        _, late = await asyncio.wait({self._resending}, timeout=self._settings.drain_seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        for job_id, sent in self._backlog:
            logger.error("job lost", job=sent.kind, job_id=str(job_id))

    async def _resend(self) -> None:
        # Jobs may depend on earlier ones.
        while self._backlog:
            await asyncio.sleep(self.retry_seconds)
            with suppress(QueueUnavailable):
                while self._backlog:
                    job_id, sent = self._backlog[0]
                    await self._store.submit(job_id, sent)
                    self._backlog.popleft()
                    logger.info("job submitted", job=sent.kind, job_id=str(job_id))
        self._resending = None
