"""A worker in this process: attempts, retries, leases and shutdown."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from app.config import Settings
from app.core.ids import new_id
from app.core.jobs import JobState, TrackedJob
from app.core.ports import Job
from app.infrastructure.jobs import JobStore, keys
from app.infrastructure.jobs.claims import Claims
from app.infrastructure.jobs.connection import JobRedis
from app.infrastructure.jobs.metrics import JobMetrics, Outcome
from app.infrastructure.jobs.worker import Cron, JobWorker, retry_delay
from app.infrastructure.metrics import exported
from app.infrastructure.payloads import Message
from app.worker import open_worker
from tests.support.metrics_plugin import free_port, scraper, until, value
from tests.support.queues import Run, Witness, on, queue_redis, quick, worker_on, working
from tests.support.redis_plugin import OwnRedis
from tests.support.waiting import eventually


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(TrackedJob):
    """Write something to a file."""


@dataclass(frozen=True, slots=True)
class Tidy(Job):
    """Clean up."""


async def nothing(_: Job) -> None: ...


class Held:
    """A job that blocks until released."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.done = 0

    async def __call__(self, job: Job) -> None:
        self.begun.set()
        await self.may_end.wait()
        self.done += 1


async def fail(_: Job) -> None:
    raise OSError


def renew_often(worker: JobWorker) -> None:
    """Renew leases as often as if they were short."""
    worker._settings = worker._settings.model_copy(update={"lease_seconds": 0.3})


class Queue:
    """A queue, and a worker on it."""

    def __init__(self, redis: JobRedis, settings: Settings) -> None:
        self.redis = redis
        self.settings = settings
        self.store = JobStore(redis, settings.jobs)
        self.witness = Witness()

    def another_worker(self) -> Claims:
        return Claims(self.redis, self.settings.jobs, str(new_id()))

    async def submit(self, owner_id: UUID | None = None) -> UUID:
        job = Report(owner_id=owner_id or new_id())
        await self.store.submit(job.id, Message(job), owner_id=job.owner_id)
        return job.id

    @asynccontextmanager
    async def worked_on(self, run: Run) -> AsyncIterator[JobWorker]:
        async with working(self.settings, run, self.witness, kinds=[Report]) as worker:
            yield worker

    async def state(self, job_id: UUID) -> JobState:
        job = await self.store.find(job_id)
        assert job is not None
        return job.state

    async def reaches(self, job_id: UUID, state: JobState) -> None:
        async def reached() -> bool:
            return await self.state(job_id) == state

        await eventually(reached)

    async def ends(self, count: int = 1) -> list[str]:
        await self.witness.until(lambda seen: len(seen.ends) >= count)
        return [outcome for _, outcome in self.witness.ends]


@pytest.fixture
async def queue(settings: Settings) -> AsyncIterator[Queue]:
    async with opened(settings) as each:
        yield each


@pytest.fixture
def server(own_redis: Callable[[], OwnRedis]) -> OwnRedis:
    return own_redis()


@asynccontextmanager
async def opened(
    settings: Settings, server: OwnRedis | None = None, **jobs: float
) -> AsyncIterator[Queue]:
    own = quick(settings, **jobs)
    own = on(own, server) if server else own
    async with queue_redis(own) as redis:
        yield Queue(redis, own)


class TestTry:
    async def test_runs_a_job_once(self, queue: Queue) -> None:
        held = Held()
        held.may_end.set()
        job_id = await queue.submit()
        async with queue.worked_on(held):
            await queue.reaches(job_id, "done")
        assert held.done == 1
        assert queue.witness.begins == [("Report", 1)]
        assert await queue.ends() == ["done"]

    async def test_is_repeated_until_the_job_is_dead(self, settings: Settings) -> None:
        async with opened(settings, max_tries=3) as queue:
            job_id = await queue.submit()
            with capture_logs([merge_contextvars]) as lines:
                async with queue.worked_on(fail):
                    await queue.reaches(job_id, "failed")
            assert await queue.ends() == ["failed", "failed", "dead"]
            (dead,) = (await queue.store.overview()).dead
            assert (dead.id, dead.error, dead.tries) == (str(job_id), "OSError", 3)
            failures = [line for line in lines if line["event"] == "job failed"]
            assert [line["tries"] for line in failures] == [1, 2, 3]

    async def test_is_delayed_after_a_failure(self, settings: Settings) -> None:
        async with opened(settings, retry_seconds=1000.0) as queue:
            job_id = await queue.submit()
            async with queue.worked_on(fail):
                await queue.ends()
                await queue.reaches(job_id, "queued")
            overview = await queue.store.overview()
            assert (overview.queued, overview.delayed) == (0, 1)

    async def test_counts_although_its_worker_died(self, settings: Settings) -> None:
        async with opened(settings, max_tries=2) as queue:
            job_id = await queue.submit()
            for _ in range(2):
                killed = queue.another_worker()
                assert await killed.claim(str(job_id), 2**50)
                await killed.begin(str(job_id))
                await queue.redis.delete(keys.lease(str(job_id)))
            async with queue.worked_on(Held()):
                await queue.reaches(job_id, "failed")
            (dead,) = (await queue.store.overview()).dead
            assert dead.error == "worker died on each attempt"
            assert queue.witness.begins == []

    async def test_has_a_time_limit(self, settings: Settings) -> None:
        async with opened(settings, timeout_seconds=0.05, max_tries=1) as queue:
            job_id = await queue.submit()
            async with queue.worked_on(Held()):
                await queue.reaches(job_id, "failed")
            (dead,) = (await queue.store.overview()).dead
            assert dead.error == "TimeoutError"

    async def test_dead_letters_unreadable_jobs(self, queue: Queue) -> None:
        job_id, other = await queue.submit(), await queue.submit()
        await queue.redis.set(keys.payload(str(job_id)), b"\x80\x04\x95 a pickle")
        await queue.redis.delete(keys.payload(str(other)))
        async with queue.worked_on(Held()):
            await queue.reaches(job_id, "failed")
            await queue.reaches(other, "failed")
        errors = {each.error for each in (await queue.store.overview()).dead}
        assert errors == {"unknown job (ValidationError)", "expired in the queue"}

    async def test_leaves_slots_to_other_owners(self, settings: Settings) -> None:
        ada, bob = new_id(), new_id()
        async with opened(settings, concurrency=4) as queue:
            for _ in range(6):
                await queue.submit(ada)
            held = Held()
            async with queue.worked_on(held):
                await queue.witness.until(lambda seen: len(seen.begins) == 2)
                await queue.reaches(await queue.submit(bob), "running")
                await queue.witness.until(lambda seen: len(seen.begins) >= 3)
                assert len(queue.witness.begins) == 3
                held.may_end.set()
                await queue.ends(7)

    async def test_respects_the_concurrency(self, settings: Settings) -> None:
        async with opened(settings, concurrency=2) as queue:
            for _ in range(3):
                await queue.submit()
            held = Held()
            async with queue.worked_on(held) as worker:
                await queue.witness.until(lambda seen: len(seen.begins) == 2)
                await worker.start_jobs(await queue.redis.zrange(keys.QUEUE, 0, -1))
                assert len(queue.witness.begins) == 2
                held.may_end.set()
                await queue.ends(3)
            assert held.done == 3


class TestCancel:
    async def test_cancels_a_running_job(self, queue: Queue) -> None:
        held = Held()
        job_id = await queue.submit()
        async with queue.worked_on(held):
            await held.begun.wait()
            await queue.store.cancel(job_id)
            await queue.reaches(job_id, "cancelled")
        assert await queue.ends() == ["cancelled"]
        assert held.done == 0

    async def test_reaches_a_job_that_has_just_been_claimed(self, queue: Queue) -> None:
        job_id = await queue.submit()
        killed = queue.another_worker()
        assert await killed.claim(str(job_id), 2**50)
        await queue.store.cancel(job_id)
        await queue.redis.delete(keys.lease(str(job_id)))
        async with queue.worked_on(Held()):
            await queue.reaches(job_id, "cancelled")
        assert queue.witness.begins == []


class TestLease:
    async def test_is_renewed_while_the_job_runs(self, settings: Settings) -> None:
        async with opened(settings, lease_seconds=600.0) as queue:
            held, job_id = Held(), await queue.submit()
            lease = keys.lease(str(job_id))
            async with queue.worked_on(held) as worker:
                renew_often(worker)
                await held.begun.wait()
                await queue.redis.pexpire(lease, 300_000)

                async def is_renewed() -> bool:
                    return bool(await queue.redis.pttl(lease) > 300_000)

                await eventually(is_renewed, "the lease is renewed")
                held.may_end.set()
                await queue.reaches(job_id, "done")
            assert await queue.ends() == ["done"]

    async def test_taken_by_another_worker_cancels_the_job(self, settings: Settings) -> None:
        async with opened(settings, lease_seconds=600.0) as queue:
            held, job_id = Held(), await queue.submit()
            async with queue.worked_on(held) as worker:
                renew_often(worker)
                await held.begun.wait()
                await queue.redis.set(keys.lease(str(job_id)), "another")
                assert await queue.ends() == ["lost"]
            assert await queue.state(job_id) == "running"
            assert held.done == 0

    async def test_taken_before_the_end_discards_the_outcome(self, queue: Queue) -> None:
        held, job_id = Held(), await queue.submit()
        async with queue.worked_on(held):
            await held.begun.wait()
            await queue.redis.set(keys.lease(str(job_id)), "another")
            held.may_end.set()
            assert await queue.ends() == ["lost"]
        assert await queue.state(job_id) == "running"


class TestStop:
    async def test_lets_jobs_finish_within_the_grace_period(self, queue: Queue) -> None:
        held, job_id = Held(), await queue.submit()
        async with queue.worked_on(held):
            await held.begun.wait()
            asyncio.get_running_loop().call_later(0.05, held.may_end.set)
        assert await queue.state(job_id) == "done"

    async def test_hands_back_the_others_without_counting_the_try(self, settings: Settings) -> None:
        async with opened(settings, grace_seconds=0.0) as queue:
            held, job_id = Held(), await queue.submit()
            async with queue.worked_on(held):
                await held.begun.wait()
            assert await queue.ends() == ["handed back"]
            assert await queue.state(job_id) == "queued"
            assert (await queue.store.overview()).queued == 1
            held.may_end.set()
            async with queue.worked_on(held):
                await queue.reaches(job_id, "done")
            assert queue.witness.begins == [("Report", 1)] * 2


class TestRedisUnavailable:
    async def test_survives_a_restart_of_redis_in_mid_job(
        self, settings: Settings, server: OwnRedis
    ) -> None:
        async with opened(settings, server, lease_seconds=0.3) as queue:
            held, job_id = Held(), await queue.submit()
            async with queue.worked_on(held):
                await held.begun.wait()
                server.kill()
                held.may_end.set()
                server.start()
                await queue.reaches(job_id, "done")
                second = await queue.submit()
                await queue.reaches(second, "done")

    async def test_cancels_jobs_whose_leases_expired(
        self, settings: Settings, server: OwnRedis
    ) -> None:
        async with opened(settings, server, lease_seconds=0.2) as queue:
            held, job_id = Held(), await queue.submit()
            async with queue.worked_on(held):
                await held.begun.wait()
                server.kill()
                assert await queue.ends() == ["lost"]
                server.start()
                held.may_end.set()
                await queue.reaches(job_id, "done")
            assert held.done == 1

    async def test_stops_without_redis(self, settings: Settings, server: OwnRedis) -> None:
        async with opened(settings, server, grace_seconds=0.0) as queue:
            held = Held()
            await queue.submit()
            with capture_logs([merge_contextvars]) as lines:
                async with queue.worked_on(held):
                    await held.begun.wait()
                    server.kill()
            said = [line["event"] for line in lines]
            assert "worker deregistration failed" in said
            assert "job abandoned" in said

    async def test_is_logged_once_and_so_is_its_return(
        self, queue: Queue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        worker = worker_on(queue.redis, queue.settings, nothing, queue.witness)
        ends = iter([*[OSError()] * 3, None, OSError(), asyncio.CancelledError()])

        async def main() -> None:
            while (end := next(ends)) is None:
                await worker.record_health()
            raise end

        monkeypatch.setattr(worker, "main", main)
        with capture_logs() as lines, pytest.raises(asyncio.CancelledError):
            await worker._poll()
        said = [line["event"] for line in lines]
        assert said == ["redis unavailable", "redis available", "redis unavailable"]

    async def test_keeps_a_done_job_that_is_not_stored_yet(
        self, settings: Settings, server: OwnRedis
    ) -> None:
        async with opened(settings, server) as queue:
            held, job_id = Held(), await queue.submit()
            with capture_logs() as lines:
                async with queue.worked_on(held) as worker:
                    await held.begun.wait()
                    server.kill()
                    held.may_end.set()

                    async def is_done() -> bool:
                        return worker.job_tasks[str(job_id)].done()

                    await eventually(is_done)
                    worker._lose(str(job_id))
                    server.start()
                    assert await queue.ends() == ["done"]
            assert "lease lost" not in [line["event"] for line in lines]


class TestCron:
    def worker(self, queue: Queue) -> JobWorker:
        schedule = [Cron(Tidy, hour=3, minute=30)]
        return worker_on(queue.redis, queue.settings, nothing, queue.witness, schedule)

    async def test_enqueues_a_job_once_for_all_workers(self, queue: Queue) -> None:
        before = datetime(2026, 11, 21, 3, 29, 58, tzinfo=UTC)
        due = datetime(2026, 11, 21, 3, 30, 0, tzinfo=UTC)
        first, second, late = (self.worker(queue) for _ in range(3))
        for worker in (first, second):
            await worker.run_cron(before, 0.5)
            await worker.run_cron(due, 0.5)
        (job_id,) = [each.decode() for each in await queue.redis.zrange(keys.QUEUE, 0, -1)]
        assert job_id.startswith("Tidy:")

        assert await first._claims.claim(job_id, 2**50)
        assert await first._claims.done(job_id)
        await late.run_cron(before, 0.5)
        await late.run_cron(due, 0.5)
        assert await queue.redis.zcard(keys.QUEUE) == 0


def test_retry_delay_doubles_up_to_a_maximum_less_up_to_a_half(settings: Settings) -> None:
    jobs = settings.jobs.model_copy(update={"retry_seconds": 2.0, "retry_max_seconds": 60.0})
    pauses = [retry_delay(jobs, tries, lambda: 0.0) for tries in (1, 2, 3, 4, 5, 6, 7, 100_000)]
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60]
    assert retry_delay(jobs, 1, lambda: 1.0) == 1
    assert {math.ceil(retry_delay(jobs, 1)) for _ in range(50)} <= {1, 2}


async def test_metrics_are_served_on_a_port_of_their_own(settings: Settings) -> None:
    registry, port = CollectorRegistry(), free_port()
    metrics = JobMetrics(registry)
    with exported(registry, "127.0.0.1", port):
        async with open_worker(quick(settings), metrics), scraper(port) as scraped:
            for tries, outcome in enumerate(("failed", "done"), start=1):
                metrics.begun("SendMail", tries, 0.2)
                metrics.ended("SendMail", cast("Outcome", outcome), 0.1)
            metrics.begun("SendMail", 1, 5)
            await until(scraped, 1, "jobs_running")
            await until(scraped, 0, "jobs_queued")
            for outcome in ("failed", "done"):
                await until(scraped, 1, "jobs_total", job="SendMail", outcome=outcome)
            for name in ("job_wait_seconds_count", "job_duration_seconds_count"):
                await until(scraped, 2, name, job="SendMail")
            assert await value(scraped, "process_open_fds") > 0
