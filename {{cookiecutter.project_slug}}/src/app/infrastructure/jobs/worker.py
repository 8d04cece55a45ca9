"""A worker: arq's loop over the queue, with leases, retries and outcomes of our own.

arq's lease lasts as long as the longest job may take, which delays the jobs of a killed worker. It
also logs arguments, and stops at a Redis error. We use its queue, polling, cron and cancellation.
"""

import asyncio
import logging
import os
import random
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from functools import partial

import structlog
from arq.cron import cron
from arq.utils import timestamp_ms
from arq.worker import Worker, func
from redis.exceptions import RedisError
from structlog.contextvars import bind_contextvars

from app.core.clock import utc_now
from app.core.config import JobSettings
from app.core.jobs import QueueUnavailable
from app.core.ports import Job
from app.infrastructure.jobs.claims import Claims
from app.infrastructure.jobs.connection import JobRedis
from app.infrastructure.jobs.metrics import JobMetrics, Outcome
from app.infrastructure.jobs.payloads import decode
from app.infrastructure.jobs.store import WorkerInfo
from app.infrastructure.outbox import uncancel
from app.infrastructure.payloads import Message, UnreadableJob

_READ_LIMIT = 1000
"""Running jobs stay in the queue: read enough to see past those of all workers."""

logger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Cron:
    """A job without arguments, enqueued by the clock in UTC (None: every hour).

    Its due time is in its id, so that it is enqueued once for all workers.
    """

    kind: type[Job]
    hour: int | None
    minute: int


class JobWorker(Worker):
    """Runs jobs concurrently in one process."""

    def __init__(
        self,
        redis: JobRedis,
        claims: Claims,
        run: Callable[[Job], Awaitable[None]],
        kinds: Iterable[type[Job]],
        schedule: Sequence[Cron],
        settings: JobSettings,
        metrics: JobMetrics,
    ) -> None:
        """Create a worker of these kinds of jobs; call it on a running loop."""
        super().__init__(
            # arq wants coroutines, which `run_job` below never calls.
            functions=[func(self.run_job, name="job")],  # type: ignore[arg-type]
            cron_jobs=[
                cron(self.run_job, name=each.kind.__name__, hour=each.hour, minute=each.minute)  # type: ignore[arg-type]
                for each in schedule
            ],
            redis_pool=redis,
            handle_signals=False,
            max_jobs=settings.concurrency,
            poll_delay=settings.poll_seconds,
            queue_read_limit=_READ_LIMIT,
            allow_abort_jobs=True,
            timezone=UTC,
        )
        self._claims = claims
        self._run = run
        self._kinds = {kind.__name__: kind for kind in kinds}
        self._settings = settings
        self._metrics = metrics
        self._max_per_owner = min(settings.running_per_user, max(1, settings.concurrency - 1))
        self._running: Counter[str] = Counter()
        self._started_at = utc_now().isoformat()
        self._renewed = time.monotonic()
        self._lost: set[str] = set()
        self._is_away = False

    async def serve(self, stop: asyncio.Event) -> None:
        """Run jobs until `stop` is set; then finish or hand back those in progress."""
        logging.getLogger("arq").setLevel(logging.WARNING)
        tasks = [
            asyncio.create_task(self._keep_alive(), name="worker-leases"),
            asyncio.create_task(self._poll(), name="worker-queue"),
        ]
        waiting = asyncio.create_task(stop.wait())
        try:
            # Until the worker is stopped.
            await asyncio.wait({waiting, *tasks}, timeout=None, return_when=asyncio.FIRST_COMPLETED)
            self.allow_pick_jobs = False
            logger.info("worker stopping", running=len(self.job_tasks))
            await self._finish()
        finally:
            waiting.cancel()
            await _cancel(tasks, pause=0.1)
        for end in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(end, asyncio.CancelledError | None):
                raise end
        try:
            await self._claims.deregister()
        except QueueUnavailable:
            logger.warning("worker deregistration failed")

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        """Claim and start jobs while there are free slots."""
        waiting = [job_id for job_id in map(bytes.decode, job_ids) if job_id not in self.tasks]
        # First come, first served, but no owner takes the slots of all others.
        for job_id, owner in zip(waiting, await self._claims.owners(waiting), strict=True):
            if self.job_counter >= self.max_jobs:
                return
            if owner and self._running[owner] >= self._max_per_owner:
                continue
            if not await self._claims.claim(job_id, timestamp_ms()):
                continue
            self.job_counter += 1
            self._running[owner] += 1
            task = asyncio.create_task(self.run_job(job_id, 0), name=f"job-{job_id}")
            task.add_done_callback(partial(self._count_down, owner))
            self.tasks[job_id] = task

    async def run_job(self, job_id: str, score: int) -> None:
        """Run a claimed job, and store its outcome. Raises nothing but cancellation."""
        bind_contextvars(job_id=job_id)
        try:
            await self._begin(job_id)
        except QueueUnavailable as error:
            # Its lease will expire, and another worker will retry it.
            logger.warning("job abandoned", **error.context)
        except Exception:
            logger.exception("job abandoned")

    async def record_health(self) -> None:
        """Note that Redis has answered; heartbeats go with the leases."""
        if self._is_away:
            self._is_away = False
            logger.info("redis available")

    async def _poll(self) -> None:
        """Run arq's loop, which ends at each error of Redis."""
        while True:
            try:
                await self.main()
            except (QueueUnavailable, RedisError, OSError) as error:
                if not self._is_away:
                    self._is_away = True
                    logger.warning("redis unavailable", cause=type(error).__name__)
                await asyncio.sleep(self.poll_delay_s)

    async def _keep_alive(self) -> None:
        """Renew leases and send heartbeats, three times per lease."""
        while True:
            try:
                running = [job_id for job_id, task in self.tasks.items() if not task.done()]
                lost = await self._claims.renew(running)
                self._renewed = time.monotonic()
                await self._claims.heartbeat(self._info())
            except QueueUnavailable:
                expired = time.monotonic() - self._renewed >= self._settings.lease_seconds
                # Other workers may have started our jobs.
                lost = list(self.job_tasks) if expired else []
            for job_id in lost:
                self._lose(job_id)
            await asyncio.sleep(self._settings.lease_seconds / 3)

    async def _finish(self) -> None:
        """Let running jobs finish within the grace period, and hand back the others.

        The grace period includes storing the outcomes of jobs that are done.
        """
        running = set(self.tasks.values())
        if not running:
            return
        _, late = await asyncio.wait(running, timeout=self._settings.grace_seconds)
        # Each has time for one command, by which it hands its job back.
        await _cancel(late, pause=2 * self._settings.command_seconds)

    async def _begin(self, job_id: str) -> None:
        attempt = await self._claims.begin(job_id)
        if attempt.payload is None:
            await self._give_up(job_id, "expired in the queue")
            return
        try:
            sent = decode(attempt.payload, self._kinds)
        except UnreadableJob as error:
            await self._give_up(job_id, str(error))
            return
        bind_contextvars(job=sent.kind, tries=attempt.number, **sent.context)
        if attempt.cancelled:
            await self._store(lambda: self._claims.cancelled(job_id))
        elif attempt.number > self._settings.max_tries:
            await self._give_up(job_id, "worker died on each attempt")
        else:
            await self._claims.running(job_id, sent.kind, attempt.number)
            await self._try(job_id, sent, attempt.number)

    async def _try(self, job_id: str, sent: Message, tries: int) -> None:
        logger.info("job started")
        started = time.perf_counter()
        waited = (utc_now() - sent.enqueued_at).total_seconds()
        self._metrics.begun(sent.kind, tries, waited)
        outcome: Outcome = "handed back"
        work = self.job_tasks[job_id] = asyncio.create_task(
            self._run_in_time(sent.job), name=f"work-{job_id}"
        )
        try:
            while not work.done():
                await asyncio.wait({work}, timeout=self._settings.lease_seconds)
                if job_id in self.aborting_tasks | self._lost:
                    await _cancel({work}, pause=1)
            outcome = await self._end(job_id, work, tries)
        except asyncio.CancelledError:
            # The grace period is over: one command, and no retries.
            uncancel()
            await _cancel({work}, pause=1)
            if work.cancelled() or work.exception():
                await self._claims.hand_back(job_id)
            else:
                await self._claims.done(job_id)
                outcome = "done"
            raise
        finally:
            del self.job_tasks[job_id]
            self.aborting_tasks.discard(job_id)
            self._lost.discard(job_id)
            seconds = time.perf_counter() - started
            self._metrics.ended(sent.kind, outcome, seconds)
            logger.info("job ended", outcome=outcome, duration_ms=round(seconds * 1000, 3))

    async def _run_in_time(self, job: Job) -> None:
        async with asyncio.timeout(self._settings.timeout_seconds):
            await self._run(job)

    async def _end(self, job_id: str, work: asyncio.Task[None], tries: int) -> Outcome:
        """Store the outcome of an attempt."""
        if work.cancelled():
            if job_id in self._lost:
                return "lost"
            self.jobs_failed += 1
            await self._store(lambda: self._claims.cancelled(job_id))
            return "cancelled"
        error = work.exception()
        if error is None:
            self.jobs_complete += 1
            held = await self._store(lambda: self._claims.done(job_id))
            return "done" if held else "lost"
        logger.error("job failed", exc_info=error)
        if tries >= self._settings.max_tries:
            await self._give_up(job_id, type(error).__name__)
            return "dead"
        self.jobs_retried += 1
        at = utc_now() + timedelta(seconds=retry_delay(self._settings, tries))
        await self._store(lambda: self._claims.retry(job_id, at, type(error).__name__))
        return "failed"

    async def _give_up(self, job_id: str, reason: str) -> None:
        self.jobs_failed += 1
        logger.error("job dead-lettered", reason=reason)
        await self._store(lambda: self._claims.dead(job_id, reason))

    async def _store(self, write: Callable[[], Awaitable[bool]]) -> bool:
        """Store an outcome as soon as Redis is available, so that the job is not repeated."""
        while True:
            try:
                return await write()
            except QueueUnavailable:
                await asyncio.sleep(self.poll_delay_s)

    def _lose(self, job_id: str) -> None:
        """Cancel a job that another worker may run by now."""
        work = self.job_tasks.get(job_id)
        if work and not work.done() and job_id not in self._lost:
            logger.warning("lease lost", job_id=job_id)
            self._lost.add(job_id)
            work.cancel()

    def _count_down(self, owner: str, _: asyncio.Task[None]) -> None:
        self.job_counter -= 1
        self._running -= Counter([owner])  # which drops those that are zero

    def _info(self) -> WorkerInfo:
        return WorkerInfo(
            host=socket.gethostname(),
            pid=os.getpid(),
            started_at=self._started_at,
            running=len(self.job_tasks),
            done=self.jobs_complete,
            failed=self.jobs_failed,
            retried=self.jobs_retried,
        )


def retry_delay(
    settings: JobSettings, tries: int, jitter: Callable[[], float] = random.random
) -> float:
    """Return the seconds until the next attempt: doubled with each, minus up to half at random."""
    # The limit is reached long before sixty doublings, and a float would overflow later.
    delay = settings.retry_seconds * 2.0 ** min(tries - 1, 60)
    return min(delay, settings.retry_max_seconds) * (1 - jitter() / 2)


async def _cancel(tasks: Iterable[asyncio.Task[None]], *, pause: float) -> None:
    """Cancel tasks until they have ended, again after each pause.

    The Redis client can swallow a cancellation that coincides with one of its time limits.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=pause)
