"""A worker in this process, on a real Redis: tries, retries, leases, and the way it stops."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from prometheus_client import CollectorRegistry, start_http_server
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from app.config import Settings
from app.core.ids import new_id
from app.domain.exports import ExportItems
from app.domain.items import ItemFilter
from app.domain.tracking import JobId, JobState
from app.domain.users import UserId
from app.infrastructure.jobs import keys
from app.infrastructure.jobs.claims import Claims
from app.infrastructure.jobs.connection import JobRedis, open_job_redis
from app.infrastructure.jobs.payloads import Packed
from app.infrastructure.jobs.store import JobStore
from app.services.handlers import Handlers
from app.worker.metrics import JobMetrics, shown
from app.worker.retries import seconds_to_next_try
from app.worker.worker import JobWorker
from tests.support.queues import Witness, on, quick, working
from tests.support.redis_plugin import OwnRedis
from tests.support.waiting import eventually

OWNER = UserId(new_id())
Work = Callable[[ExportItems], Awaitable[None]]


class Held:
    """Work that goes on until it may end."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.done = 0

    async def __call__(self, job: ExportItems) -> None:
        self.begun.set()
        await self.may_end.wait()
        self.done += 1


async def fail(job: ExportItems) -> None:
    raise OSError(job.format)


def renew_often(worker: JobWorker) -> None:
    """Have it look after its leases as often as if they were short."""
    worker._settings = worker._settings.model_copy(update={"lease_seconds": 0.3})


class Queue:
    """A queue of exports, and a worker that does them in its own way."""

    def __init__(self, redis: JobRedis, settings: Settings) -> None:
        self.redis = redis
        self.settings = settings
        self.store = JobStore(redis, settings.jobs)
        self.witness = Witness()

    async def submit(self) -> JobId:
        job_id = JobId(new_id())
        job = ExportItems(job_id=job_id, owner_id=OWNER, wanted=ItemFilter(), format="csv")
        await self.store.submit(str(job_id), Packed(job), owner_id=OWNER)
        return job_id

    @asynccontextmanager
    async def worked_on(self, work: Work) -> AsyncIterator[JobWorker]:
        handlers = Handlers()
        handlers.add(ExportItems, work)
        async with working(self.settings, handlers, self.witness) as worker:
            yield worker

    async def state(self, job_id: JobId) -> JobState:
        job = await self.store.find(job_id)
        assert job is not None
        return job.state

    async def reaches(self, job_id: JobId, state: JobState) -> None:
        async def reached() -> bool:
            return await self.state(job_id) == state

        await eventually(reached)

    async def ends(self, count: int = 1) -> list[str]:
        await self.witness.until(lambda seen: len(seen.ends) >= count)
        return [outcome for _, outcome in self.witness.ends]


@pytest.fixture
async def queue(settings: Settings) -> AsyncIterator[Queue]:
    async with opened(quick(settings)) as each:
        yield each


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Queue]:
    async with open_job_redis(settings) as redis:
        yield Queue(redis, settings)


class TestTry:
    async def test_does_a_job_once(self, queue: Queue) -> None:
        held = Held()
        held.may_end.set()
        job_id = await queue.submit()
        async with queue.worked_on(held):
            await queue.reaches(job_id, "done")
        assert held.done == 1
        assert queue.witness.begins == [("ExportItems", 1)]
        assert await queue.ends() == ["done"]

    async def test_comes_back_after_a_failure_until_it_is_dead(self, settings: Settings) -> None:
        async with opened(quick(settings, max_tries=3)) as queue:
            job_id = await queue.submit()
            with capture_logs([merge_contextvars]) as lines:
                async with queue.worked_on(fail):
                    await queue.reaches(job_id, "failed")
            assert await queue.ends() == ["failed", "failed", "dead"]
            (dead,) = (await queue.store.overview()).dead
            assert (dead.id, dead.error, dead.tries) == (str(job_id), "OSError", 3)
            failures = [line for line in lines if line["event"] == "job failed"]
            assert [line["tries"] for line in failures] == [1, 2, 3]

    async def test_waits_before_it_comes_back(self, settings: Settings) -> None:
        async with opened(quick(settings, retry_seconds=1000.0)) as queue:
            job_id = await queue.submit()
            async with queue.worked_on(fail):
                await queue.ends()
                await queue.reaches(job_id, "queued")
            overview = await queue.store.overview()
            assert (overview.queued, overview.delayed) == (0, 1)

    async def test_is_counted_although_its_worker_died(self, settings: Settings) -> None:
        async with opened(quick(settings, max_tries=2)) as queue:
            job_id = await queue.submit()
            for _ in range(2):
                killed = Claims(queue.redis, queue.settings.jobs, str(new_id()))
                assert await killed.claim(str(job_id), 2**50)
                await killed.begin(str(job_id))
                await queue.redis.delete(keys.lease(str(job_id)))
            async with queue.worked_on(Held()):
                await queue.reaches(job_id, "failed")
            (dead,) = (await queue.store.overview()).dead
            assert dead.error == "its worker died at each try"
            assert queue.witness.begins == []

    async def test_takes_no_longer_than_it_may(self, settings: Settings) -> None:
        async with opened(quick(settings, timeout_seconds=0.05, max_tries=1)) as queue:
            job_id = await queue.submit()
            async with queue.worked_on(Held()):
                await queue.reaches(job_id, "failed")
            (dead,) = (await queue.store.overview()).dead
            assert dead.error == "TimeoutError"

    async def test_gives_up_what_nobody_can_read(self, queue: Queue) -> None:
        job_id, other = await queue.submit(), await queue.submit()
        await queue.redis.set(keys.payload(str(job_id)), b"\x80\x04\x95 a pickle")
        await queue.redis.delete(keys.payload(str(other)))
        async with queue.worked_on(Held()):
            await queue.reaches(job_id, "failed")
            await queue.reaches(other, "failed")
        errors = {each.error for each in (await queue.store.overview()).dead}
        assert errors == {"not a job that we know (ValidationError)", "it waited too long"}

    async def test_does_no_more_at_once_than_it_should(self, settings: Settings) -> None:
        async with opened(quick(settings, concurrency=2)) as queue:
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
    async def test_ends_a_job_that_runs(self, queue: Queue) -> None:
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
        killed = Claims(queue.redis, queue.settings.jobs, str(new_id()))
        assert await killed.claim(str(job_id), 2**50)
        await queue.store.cancel(job_id)
        await queue.redis.delete(keys.lease(str(job_id)))
        async with queue.worked_on(Held()):
            await queue.reaches(job_id, "cancelled")
        assert queue.witness.begins == []


class TestLease:
    async def test_is_renewed_for_as_long_as_the_job_takes(self, settings: Settings) -> None:
        async with opened(quick(settings, lease_seconds=600.0)) as queue:
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

    async def test_that_another_has_got_ends_the_job_here(self, settings: Settings) -> None:
        async with opened(quick(settings, lease_seconds=600.0)) as queue:
            held, job_id = Held(), await queue.submit()
            async with queue.worked_on(held) as worker:
                renew_often(worker)
                await held.begun.wait()
                await queue.redis.set(keys.lease(str(job_id)), "another")
                assert await queue.ends() == ["lost"]
            assert await queue.state(job_id) == "running"
            assert held.done == 0

    async def test_that_another_had_before_the_end_takes_the_outcome_from_us(
        self, queue: Queue
    ) -> None:
        held, job_id = Held(), await queue.submit()
        async with queue.worked_on(held):
            await held.begun.wait()
            await queue.redis.set(keys.lease(str(job_id)), "another")
            held.may_end.set()
            assert await queue.ends() == ["lost"]
        assert await queue.state(job_id) == "running"


class TestStop:
    async def test_lets_jobs_finish_within_the_grace(self, queue: Queue) -> None:
        held, job_id = Held(), await queue.submit()
        async with queue.worked_on(held):
            await held.begun.wait()
            asyncio.get_running_loop().call_later(0.05, held.may_end.set)
        assert await queue.state(job_id) == "done"

    async def test_hands_back_the_others_and_does_not_count_the_try(
        self, settings: Settings
    ) -> None:
        async with opened(quick(settings, grace_seconds=0.0)) as queue:
            held, job_id = Held(), await queue.submit()
            async with queue.worked_on(held):
                await held.begun.wait()
            assert await queue.ends() == ["handed back"]
            assert await queue.state(job_id) == "queued"
            assert (await queue.store.overview()).queued == 1
            held.may_end.set()
            async with queue.worked_on(held):
                await queue.reaches(job_id, "done")
            assert queue.witness.begins == [("ExportItems", 1)] * 2


class TestRedisAway:
    async def test_survives_a_restart_of_redis_in_mid_job(
        self, settings: Settings, own_redis: Callable[[], OwnRedis]
    ) -> None:
        server = own_redis()
        own = on(quick(settings, lease_seconds=0.3), server)
        async with opened(own) as queue:
            held, job_id = Held(), await queue.submit()
            async with queue.worked_on(held):
                await held.begun.wait()
                server.kill()
                held.may_end.set()
                server.start()
                await queue.reaches(job_id, "done")
                second = await queue.submit()
                await queue.reaches(second, "done")

    async def test_ends_its_jobs_when_it_can_not_hold_their_leases(
        self, settings: Settings, own_redis: Callable[[], OwnRedis]
    ) -> None:
        server = own_redis()
        own = on(quick(settings, lease_seconds=0.2), server)
        async with opened(own) as queue:
            held, job_id = Held(), await queue.submit()
            async with queue.worked_on(held):
                await held.begun.wait()
                server.kill()
                assert await queue.ends() == ["lost"]
                server.start()
                held.may_end.set()
                await queue.reaches(job_id, "done")
            assert held.done == 1

    async def test_stops_although_redis_is_away(
        self, settings: Settings, own_redis: Callable[[], OwnRedis]
    ) -> None:
        server = own_redis()
        own = on(quick(settings, grace_seconds=0.0), server)
        async with opened(own) as queue:
            held = Held()
            await queue.submit()
            with capture_logs([merge_contextvars]) as lines:
                async with queue.worked_on(held):
                    await held.begun.wait()
                    server.kill()
            said = [line["event"] for line in lines]
            assert "worker left without a word" in said
            assert "job left" in said

    async def test_is_told_once_and_so_is_its_return(
        self, queue: Queue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        jobs = queue.settings.jobs
        claims = Claims(queue.redis, jobs, "worker")
        worker = JobWorker(queue.redis, claims, Handlers(), jobs, queue.witness)
        ends = iter([*[OSError()] * 3, None, OSError(), asyncio.CancelledError()])

        async def main() -> None:
            while (end := next(ends)) is None:
                await worker.record_health()
            raise end

        monkeypatch.setattr(worker, "main", main)
        with capture_logs() as lines, pytest.raises(asyncio.CancelledError):
            await worker._poll()
        said = [line["event"] for line in lines]
        assert said == ["redis is away", "redis is back", "redis is away"]

    async def test_takes_no_lease_from_what_is_done_and_not_yet_noted(
        self, settings: Settings, own_redis: Callable[[], OwnRedis]
    ) -> None:
        server = own_redis()
        async with opened(on(quick(settings), server)) as queue:
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

    async def test_ends_a_job_once_whose_lease_is_lost(self, queue: Queue) -> None:
        held, job_id = Held(), await queue.submit()
        with capture_logs() as lines:
            async with queue.worked_on(held) as worker:
                await held.begun.wait()
                for _ in range(3):
                    worker._lose(str(job_id))
                assert await queue.ends() == ["lost"]
        assert [line["event"] for line in lines].count("lease lost") == 1


class TestCalendar:
    @pytest.fixture
    async def workers(self, queue: Queue) -> list[JobWorker]:
        claims = Claims(queue.redis, queue.settings.jobs, "worker")
        jobs = queue.settings.jobs
        return [JobWorker(queue.redis, claims, Handlers(), jobs, queue.witness) for _ in range(2)]

    async def test_asks_once_for_what_happens_by_the_clock(
        self, queue: Queue, workers: list[JobWorker]
    ) -> None:
        before = datetime(2026, 11, 21, 3, 29, 58, tzinfo=UTC)
        moment = datetime(2026, 11, 21, 3, 30, 0, tzinfo=UTC)
        for worker in workers:
            await worker.run_cron(before, 0.5)
            await worker.run_cron(moment, 0.5)
        asked = [each.decode() for each in await queue.redis.zrange(keys.QUEUE, 0, -1)]
        assert [each.partition(":")[0] for each in asked] == ["Prune"]

        (job_id,) = asked
        assert await workers[0]._claims.claim(job_id, 2**50)
        assert await workers[0]._claims.done(job_id)
        late = JobWorker(
            queue.redis, workers[0]._claims, Handlers(), queue.settings.jobs, queue.witness
        )
        await late.run_cron(before, 0.5)
        await late.run_cron(moment, 0.5)
        assert await queue.redis.zcard(keys.QUEUE) == 0

    async def test_removes_exports_each_hour(self, queue: Queue, workers: list[JobWorker]) -> None:
        for hour in (5, 6):
            await workers[0].run_cron(datetime(2026, 11, 21, hour, 16, 58, tzinfo=UTC), 0.5)
            await workers[0].run_cron(datetime(2026, 11, 21, hour, 17, tzinfo=UTC), 0.5)
        asked = [each.decode() for each in await queue.redis.zrange(keys.QUEUE, 0, -1)]
        assert [each.partition(":")[0] for each in asked] == ["RemoveExports"] * 2


class TestPause:
    def test_doubles_up_to_the_longest(self, settings: Settings) -> None:
        jobs = settings.jobs.model_copy(update={"retry_seconds": 2.0, "retry_max_seconds": 60.0})
        pauses = [seconds_to_next_try(jobs, tries, lambda: 0.0) for tries in range(1, 8)]
        assert pauses == [2, 4, 8, 16, 32, 60, 60]
        assert seconds_to_next_try(jobs, 100_000, lambda: 0.0) == 60

    def test_is_less_by_chance_up_to_a_half(self, settings: Settings) -> None:
        jobs = settings.jobs.model_copy(update={"retry_seconds": 2.0})
        assert seconds_to_next_try(jobs, 1, lambda: 1.0) == 1
        assert {math.ceil(seconds_to_next_try(jobs, 1)) for _ in range(50)} <= {1, 2}


class TestMetrics:
    def test_count_and_time_tries(self) -> None:
        registry = CollectorRegistry()
        metrics = JobMetrics(registry)
        metrics.begun("SendMail", 1, 0.2)
        assert registry.get_sample_value("jobs_running") == 1
        metrics.ended("SendMail", "failed", 0.1)
        metrics.begun("SendMail", 2, 5)
        metrics.ended("SendMail", "done", 0.1)
        of_mails = {"job": "SendMail"}
        value = registry.get_sample_value
        assert value("jobs_running") == 0
        assert value("jobs_total", of_mails | {"outcome": "done"}) == 1
        assert value("jobs_total", of_mails | {"outcome": "failed"}) == 1
        assert value("job_wait_seconds_count", of_mails) == 1
        assert value("job_duration_seconds_count", of_mails) == 2

    def test_are_shown_where_the_settings_say_so(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ports: list[int] = []

        def noted(*arguments: Any) -> Any:
            server, thread = start_http_server(*arguments)
            ports.append(server.server_port)
            return server, thread

        monkeypatch.setattr("app.worker.metrics.start_http_server", noted)
        jobs = settings.jobs.model_copy(update={"metrics_port": 0})
        enabled = settings.metrics.model_copy(update={"enabled": True})
        with shown(settings.model_copy(update={"jobs": jobs, "metrics": enabled})) as metrics:
            metrics.begun("SendMail", 1, 0.2)
            answer = httpx2.get(f"http://127.0.0.1:{ports[0]}/metrics")
            assert "jobs_running 1.0" in answer.text
        with shown(settings.model_copy(update={"jobs": jobs})):
            assert len(ports) == 1
