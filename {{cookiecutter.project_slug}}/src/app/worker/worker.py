"""The worker: arq's loop over the queue, with leases, retries and outcomes of our own.

arq's own lease lasts as long as the longest job may take, so that the job of a killed worker waits
for that long; its log has the arguments of jobs, and an error of Redis ends it. What we use of it
is the queue, the reading of it, the calendar, and the ending of cancelled jobs.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, timedelta
from typing import Literal, Protocol, cast

import structlog
from arq.cron import CronJob, cron
from arq.utils import timestamp_ms
from arq.worker import Worker
from redis.exceptions import RedisError
from structlog.contextvars import bind_contextvars

from app.core.clock import utc_now
from app.core.config import JobSettings
from app.domain.exports import Prune, RemoveExports
from app.domain.tracking import QueueUnavailable
from app.infrastructure.jobs.claims import Claims
from app.infrastructure.jobs.connection import JobRedis
from app.infrastructure.jobs.payloads import Packed, UnreadableJob, from_bytes
from app.infrastructure.jobs.store import WorkerInfo
from app.services.handlers import Handlers
from app.worker.retries import seconds_to_next_try

Outcome = Literal["done", "failed", "dead", "cancelled", "handed back", "lost"]

_READ_AT_ONCE = 1000
"""Jobs that run stay in the queue: enough must be read to see past those of all workers."""

logger = structlog.stdlib.get_logger(__name__)


class Observer(Protocol):
    """Hears of each try."""

    def begun(self, kind: str, tries: int, waited: float) -> None:
        """Note the start of a try, and how many seconds after it was asked for."""

    def ended(self, kind: str, outcome: Outcome, seconds: float) -> None:
        """Note the end of a try."""


def calendar(handlers: Handlers) -> list[CronJob]:
    """Return what happens by the clock (UTC), once for all workers.

    Each job has the moment in its id, so that the second worker to ask for it asks in vain.
    """

    def at(kind: type, hour: int | None, minute: int) -> CronJob:
        # The coroutine is for arq's way to run jobs; ours finds the handler by the kind.
        return cron(handlers.handle, name=kind.__name__, hour=hour, minute=minute)  # type: ignore[arg-type]

    return [at(Prune, 3, 30), at(RemoveExports, None, 17)]


class JobWorker(Worker):
    """Does jobs, in one process, several at once."""

    def __init__(
        self,
        redis: JobRedis,
        claims: Claims,
        handlers: Handlers,
        settings: JobSettings,
        observer: Observer,
    ) -> None:
        """Work for this queue; call it on a running loop."""
        super().__init__(
            cron_jobs=calendar(handlers),
            redis_pool=redis,
            handle_signals=False,
            max_jobs=settings.concurrency,
            poll_delay=settings.poll_seconds,
            queue_read_limit=_READ_AT_ONCE,
            allow_abort_jobs=True,
            timezone=UTC,
        )
        self._claims = claims
        self._handlers = handlers
        self._settings = settings
        self._observer = observer
        self._started_at = utc_now().isoformat()
        self._renewed = time.monotonic()
        self._lost: set[str] = set()
        self._is_away = False

    async def serve(self, stop: asyncio.Event) -> None:
        """Do jobs until somebody wants us to stop, and then finish or hand back what we have."""
        logging.getLogger("arq").setLevel(logging.WARNING)  # our own lines say more
        tasks = [
            asyncio.create_task(self._live(), name="worker-leases"),
            asyncio.create_task(self._poll(), name="worker-queue"),
        ]
        waiting = asyncio.create_task(stop.wait())
        try:
            # Its life: there is no limit to it.
            await asyncio.wait({waiting, *tasks}, timeout=None, return_when=asyncio.FIRST_COMPLETED)
            self.allow_pick_jobs = False
            logger.info("worker stops", running=len(self.job_tasks))
            await self._finish()
        finally:
            waiting.cancel()
            await _end(tasks, pause=0.1)
        for end in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(end, asyncio.CancelledError | None):
                raise end
        try:
            await self._claims.leave()
        except QueueUnavailable:
            logger.warning("worker left without a word")

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        """Begin those of these jobs that we can get and have a place for."""
        # In order: the one in which they were asked for.
        for job_id in map(bytes.decode, job_ids):
            if self.job_counter >= self.max_jobs:
                return
            if job_id in self.tasks or not await self._claims.claim(job_id, timestamp_ms()):
                continue
            self.job_counter += 1
            task = asyncio.create_task(self.run_job(job_id, 0), name=f"job-{job_id}")
            task.add_done_callback(self._count_down)
            self.tasks[job_id] = task

    async def run_job(self, job_id: str, score: int) -> None:
        """Do a job that we have claimed, and note what came of it. Only a cancellation gets out."""
        del score  # when it was to begin; it has been looked at already
        bind_contextvars(job_id=job_id)
        try:
            await self._run(job_id)
        except QueueUnavailable as error:
            # Its lease will lapse, and somebody begins it again.
            logger.warning("job left", facts=error.context)
        except Exception:
            logger.exception("job left")

    async def record_health(self) -> None:
        """Note that Redis has just answered. Our signs of life say more, and go with the leases."""
        if self._is_away:
            self._is_away = False
            logger.info("redis is back")

    async def _poll(self) -> None:
        """Run arq's loop, again and again: an error of Redis ends it."""
        while True:
            try:
                await self.main()
            except (QueueUnavailable, RedisError, OSError) as error:
                if not self._is_away:
                    self._is_away = True
                    logger.warning("redis is away", cause=type(error).__name__)
                await asyncio.sleep(self.poll_delay_s)

    async def _live(self) -> None:
        """Hold our leases, and give signs of life, three in the time that a lease lasts."""
        while True:
            try:
                running = [job_id for job_id, task in self.tasks.items() if not task.done()]
                lost = await self._claims.renew(running)
                self._renewed = time.monotonic()
                await self._claims.beat(self._info())
            except QueueUnavailable:
                lapsed = time.monotonic() - self._renewed >= self._settings.lease_seconds
                # Others may have begun what we still do.
                lost = list(self.job_tasks) if lapsed else []
            for job_id in lost:
                self._lose(job_id)
            await asyncio.sleep(self._settings.lease_seconds / 3)

    async def _finish(self) -> None:
        """Let the jobs under way finish, within the grace, and hand the others back.

        Among them may be some that are done, where Redis has not taken the note of it. They have
        the same grace: it may be back in time, and else they are done once more.
        """
        running = set(self.tasks.values())
        if not running:
            return
        _, late = await asyncio.wait(running, timeout=self._settings.grace_seconds)
        # Each has the time for one command to Redis, by which it hands its job back.
        await _end(late, pause=2 * self._settings.command_seconds)

    async def _run(self, job_id: str) -> None:
        begun = await self._claims.begin(job_id)
        if begun.payload is None:
            await self._give_up(job_id, "it waited too long")
            return
        try:
            package = from_bytes(begun.payload)
        except UnreadableJob as error:
            await self._give_up(job_id, str(error))
            return
        bind_contextvars(job=package.kind, tries=begun.tries, **package.context)
        if begun.cancelled:
            await self._surely(lambda: self._claims.cancelled(job_id))
        elif begun.tries > self._settings.max_tries:
            await self._give_up(job_id, "its worker died at each try")
        else:
            await self._claims.note_start(job_id, package.kind, begun.tries)
            await self._try(job_id, package, begun.tries)

    async def _try(self, job_id: str, package: Packed, tries: int) -> None:
        logger.info("job begins")
        started = time.perf_counter()
        waited = (utc_now() - package.asked_at).total_seconds()
        self._observer.begun(package.kind, tries, waited)
        outcome: Outcome = "handed back"
        work = self.job_tasks[job_id] = asyncio.create_task(
            self._in_time(package), name=f"work-{job_id}"
        )
        try:
            while not work.done():
                await asyncio.wait({work}, timeout=self._settings.lease_seconds)
                if job_id in self.aborting_tasks | self._lost:
                    await _end({work}, pause=1)
            outcome = await self._ended(job_id, work, tries)
        except asyncio.CancelledError:
            # The grace is over. Nobody waits for Redis now: without a word, the lease lapses.
            _go_on_after_cancellation()
            await _end({work}, pause=1)
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
            self._observer.ended(package.kind, outcome, seconds)
            logger.info("job ends", outcome=outcome, duration_ms=round(seconds * 1000, 3))

    async def _in_time(self, package: Packed) -> None:
        async with asyncio.timeout(self._settings.timeout_seconds):
            await self._handlers.handle(package.job)

    async def _ended(self, job_id: str, work: asyncio.Task[None], tries: int) -> Outcome:
        """Note what came of a try."""
        if work.cancelled():
            if job_id in self._lost:
                return "lost"
            self.jobs_failed += 1
            await self._surely(lambda: self._claims.cancelled(job_id))
            return "cancelled"
        error = work.exception()
        if error is None:
            self.jobs_complete += 1
            ours = await self._surely(lambda: self._claims.done(job_id))
            return "done" if ours else "lost"
        logger.error("job failed", exc_info=error)
        if tries >= self._settings.max_tries:
            await self._give_up(job_id, type(error).__name__)
            return "dead"
        self.jobs_retried += 1
        at = utc_now() + timedelta(seconds=seconds_to_next_try(self._settings, tries))
        await self._surely(lambda: self._claims.again(job_id, at, type(error).__name__))
        return "failed"

    async def _give_up(self, job_id: str, reason: str) -> None:
        self.jobs_failed += 1
        logger.error("job is dead", reason=reason)
        await self._surely(lambda: self._claims.dead(job_id, reason))

    async def _surely(self, note: Callable[[], Awaitable[bool]]) -> bool:
        """Note something as soon as Redis takes it: what is done should not be done again."""
        while True:
            try:
                return await note()
            except QueueUnavailable:
                await asyncio.sleep(self.poll_delay_s)

    def _lose(self, job_id: str) -> None:
        """End a job that another worker may do by now, unless it is done, or told so already."""
        work = self.job_tasks.get(job_id)
        if work and not work.done() and job_id not in self._lost:
            logger.warning("lease lost", job_id=job_id)
            self._lost.add(job_id)
            work.cancel()

    def _count_down(self, _: asyncio.Task[None]) -> None:
        self.job_counter -= 1

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


def _go_on_after_cancellation() -> None:
    """Have this task do something more, in which a time limit is a time limit.

    While a task is being cancelled, early Pythons 3.11 take the end of any limit for that.
    """
    cast("asyncio.Task[None]", asyncio.current_task()).uncancel()


async def _end(tasks: Iterable[asyncio.Task[None]], *, pause: float) -> None:
    """Cancel tasks until they have ended, again after each pause.

    A cancellation can get lost where it meets a time limit of the Redis client: it takes it for the
    end of its own time, and goes on.
    """
    going = {task for task in tasks if not task.done()}
    while going:
        for task in going:
            task.cancel()
        _, going = await asyncio.wait(going, timeout=pause)
