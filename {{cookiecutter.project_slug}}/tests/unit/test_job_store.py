"""What is stored about jobs, and who may change it, on a real Redis."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import pytest

from app.config import Settings
from app.core.clock import utc_now
from app.core.ids import new_id
from app.core.jobs import JobFile, JobStatus, TooManyJobs, TrackedJob
from app.core.ports import Mail, SendMail
from app.infrastructure.jobs import keys
from app.infrastructure.jobs.claims import Claims
from app.infrastructure.jobs.connection import JobRedis
from app.infrastructure.jobs.payloads import Message
from app.infrastructure.jobs.store import JobStore, WorkerInfo
from tests.support.queues import queue_redis, quick

OWNER = new_id()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(TrackedJob):
    """Write something to a file."""


ALWAYS = 2**50
"""A moment, in milliseconds, before which everything may begin."""

FILE = JobFile("exports/1.csv", "text/csv", "report.csv", 12, "ab" * 32)
INFO = WorkerInfo("host", 1, "2026-11-21T10:30:00+00:00", 0, 0, 0, 0)


class Queue:
    """A queue, seen from all sides."""

    def __init__(self, redis: JobRedis, settings: Settings) -> None:
        self.redis = redis
        self.settings = settings.jobs
        self.store = JobStore(redis, settings.jobs)
        self.worker = self.another_worker()

    def another_worker(self) -> Claims:
        return Claims(self.redis, self.settings, str(new_id()))

    async def submit(self, unique: str | None = None) -> UUID:
        job_id = new_id()
        message = Message(Report(id=job_id, owner_id=OWNER))
        return UUID(await self.store.submit(job_id, message, owner_id=OWNER, unique=unique))

    async def begin(self, job_id: UUID) -> None:
        assert await self.worker.claim(str(job_id), ALWAYS)
        attempt = await self.worker.begin(str(job_id))
        await self.worker.running(str(job_id), "Report", attempt.number)

    async def job(self, job_id: UUID) -> JobStatus:
        job = await self.store.find(job_id)
        assert job is not None
        return job


@pytest.fixture
async def queue(settings: Settings) -> AsyncIterator[Queue]:
    own = quick(settings)
    async with queue_redis(own) as redis:
        yield Queue(redis, own)


class TestKeys:
    async def test_all_have_the_prefix_and_a_life_span_but_the_lists(
        self, queue: Queue, settings: Settings
    ) -> None:
        await queue.begin(await queue.submit(unique="one"))
        await queue.worker.dead(str(await queue.submit()), "OSError")
        await queue.worker.heartbeat(INFO)
        lists = {keys.QUEUE, keys.DEAD, keys.WORKERS}
        found = [key.decode() for key in await queue.redis.keys("arq:*")]
        assert len(found) > 6
        for key in found:
            assert key.startswith(f"{settings.redis.prefix}-")
            name = key[key.index("arq:") :]
            assert name in lists or await queue.redis.ttl(name) > 0


class TestSubmit:
    async def test_is_once_however_often_it_is_tried(self, queue: Queue) -> None:
        package = Message(SendMail(Mail("ada@example.com", "Hello", "")))
        for _ in range(2):
            assert await queue.store.submit("1", package) == "1"
        assert (await queue.store.overview()).queued == 1
        assert await queue.worker.claim("1", ALWAYS)
        assert await queue.worker.done("1")
        assert await queue.store.submit("1", package) == "1"
        assert (await queue.store.overview()).queued == 0

    async def test_means_the_job_of_the_same_name_while_that_is_not_over(
        self, queue: Queue
    ) -> None:
        taken = await asyncio.gather(*(queue.submit(unique="name") for _ in range(8)))
        (first,) = set(taken)
        assert (await queue.store.overview()).queued == 1
        await queue.begin(first)
        assert await queue.submit(unique="name") == first
        await queue.worker.done(str(first))
        assert await queue.submit(unique="name") != first

    async def test_can_be_asked_for_again_when_it_was_cancelled(self, queue: Queue) -> None:
        first = await queue.submit(unique="name")
        await queue.store.cancel(first)
        assert await queue.submit(unique="name") != first


class TestUnfinished:
    @pytest.fixture
    async def queue(self, settings: Settings) -> AsyncIterator[Queue]:
        own = quick(settings, unfinished_per_user=2)
        async with queue_redis(own) as redis:
            yield Queue(redis, own)

    async def test_are_as_many_as_one_user_may_have(self, queue: Queue) -> None:
        asked = await asyncio.gather(*(queue.submit() for _ in range(6)), return_exceptions=True)
        refused = [each for each in asked if isinstance(each, TooManyJobs)]
        assert len(refused) == 4
        assert (await queue.store.overview()).queued == 2

    async def test_hinder_nobody_else(self, queue: Queue) -> None:
        for _ in range(2):
            await queue.submit()
        mail = Message(SendMail(Mail("ada@example.com", "Hello", "")))
        await queue.store.submit("1", mail)
        await queue.store.submit("2", mail, owner_id=new_id())

    async def test_are_the_one_that_is_meant_by_its_name(self, queue: Queue) -> None:
        first = await queue.submit(unique="name")
        await queue.submit()
        assert await queue.submit(unique="name") == first

    @pytest.mark.parametrize("end", ["done", "cancelled", "dead", "never begun"])
    async def test_no_longer_count_when_they_are_over(self, queue: Queue, end: str) -> None:
        first, _ = [await queue.submit() for _ in range(2)]
        if end == "never begun":
            await queue.store.cancel(first)
        else:
            await queue.begin(first)
            of_dead = ["OSError"] if end == "dead" else []
            assert await getattr(queue.worker, end)(str(first), *of_dead)
        await queue.submit()
        with pytest.raises(TooManyJobs):
            await queue.submit()

    async def test_count_while_they_are_tried_again(self, queue: Queue) -> None:
        first, _ = [await queue.submit() for _ in range(2)]
        await queue.begin(first)
        await queue.worker.retry(str(first), utc_now(), "OSError")
        with pytest.raises(TooManyJobs):
            await queue.submit()

    async def test_count_again_when_they_are_given_another_life(self, queue: Queue) -> None:
        first = await queue.submit()
        await queue.begin(first)
        await queue.worker.dead(str(first), "OSError")
        await queue.submit()
        assert await queue.store.revive(str(first))
        with pytest.raises(TooManyJobs):
            await queue.submit()

    async def test_are_forgotten_with_what_is_known_of_them(self, queue: Queue) -> None:
        long_ago = (utc_now() - timedelta(seconds=queue.settings.queue_seconds)).timestamp() * 1000
        owned = keys.unfinished(OWNER)
        await queue.redis.zadd(owned, {"old": long_ago, "older": 1})
        await queue.submit()
        assert await queue.redis.zcard(owned) == 1


class TestFind:
    async def test_tells_how_far_a_job_is(self, queue: Queue) -> None:
        job_id = await queue.submit()
        job = await queue.job(job_id)
        assert (job.id, job.kind, job.owner_id) == (job_id, "Report", OWNER)
        assert (job.state, job.progress, job.tries, job.result) == ("queued", 0, 0, None)
        assert job.started_at is None
        assert job.finished_at is None

        await queue.begin(job_id)
        await queue.store.set_progress(job_id, 500)
        await queue.store.set_result(job_id, FILE)
        job = await queue.job(job_id)
        assert (job.state, job.progress, job.tries, job.result) == ("running", 500, 1, None)
        assert job.started_at is not None

        await queue.worker.done(str(job_id))
        job = await queue.job(job_id)
        assert (job.state, job.progress, job.result) == ("done", 500, FILE)
        assert job.finished_at is not None

    async def test_finds_no_job_that_nobody_owns(self, queue: Queue) -> None:
        job_id = new_id()
        await queue.store.submit(str(job_id), Message(SendMail(Mail("a@example.com", "Hi", ""))))
        assert await queue.store.find(job_id) is None
        assert await queue.store.find(new_id()) is None

    async def test_says_queued_of_one_whose_worker_is_gone(self, queue: Queue) -> None:
        job_id = await queue.submit()
        await queue.begin(job_id)
        await queue.redis.delete(keys.lease(str(job_id)))
        assert (await queue.job(job_id)).state == "queued"


class TestCancel:
    async def test_ends_a_job_that_waits_at_once(self, queue: Queue) -> None:
        job_id = await queue.submit()
        await queue.store.cancel(job_id)
        assert (await queue.job(job_id)).state == "cancelled"
        assert (await queue.store.overview()).queued == 0
        assert not await queue.worker.claim(str(job_id), ALWAYS)

    async def test_tells_the_worker_of_one_that_runs(self, queue: Queue) -> None:
        job_id = await queue.submit()
        assert await queue.worker.claim(str(job_id), ALWAYS)
        await queue.store.cancel(job_id)
        assert (await queue.worker.begin(str(job_id))).cancelled

    async def test_leaves_one_that_is_over_as_it_is(self, queue: Queue) -> None:
        job_id = await queue.submit()
        await queue.begin(job_id)
        await queue.worker.done(str(job_id))
        await queue.store.cancel(job_id)
        assert (await queue.job(job_id)).state == "done"


class TestLease:
    async def test_is_one_workers_alone(self, queue: Queue) -> None:
        job_id = str(await queue.submit())
        claims = [queue.another_worker() for _ in range(5)]
        got = await asyncio.gather(*(each.claim(job_id, ALWAYS) for each in claims))
        assert sorted(got) == [False] * 4 + [True]

    async def test_is_not_given_for_what_may_not_begin_yet(self, queue: Queue) -> None:
        job_id = str(await queue.submit())
        assert not await queue.worker.claim(job_id, 0)
        assert await queue.worker.claim(job_id, ALWAYS)

    async def test_is_held_on_by_its_holder(self, queue: Queue) -> None:
        job_id = str(await queue.submit())
        assert await queue.worker.claim(job_id, ALWAYS)
        await queue.redis.pexpire(keys.lease(job_id), 500)
        assert await queue.worker.renew([job_id]) == []
        assert await queue.redis.pttl(keys.lease(job_id)) > 500
        assert await queue.another_worker().renew([job_id]) == [job_id]
        assert await queue.worker.renew([]) == []

    async def test_is_taken_back_after_it_lapsed_unless_another_was_faster(
        self, queue: Queue
    ) -> None:
        job_id = str(await queue.submit())
        assert await queue.worker.claim(job_id, ALWAYS)
        await queue.redis.delete(keys.lease(job_id))
        assert await queue.worker.renew([job_id]) == []
        await queue.redis.delete(keys.lease(job_id))
        assert await queue.another_worker().claim(job_id, ALWAYS)
        assert await queue.worker.renew([job_id]) == [job_id]

    async def test_is_what_an_outcome_takes(self, queue: Queue) -> None:
        job_id = await queue.submit()
        await queue.begin(job_id)
        await queue.redis.delete(keys.lease(str(job_id)))
        other = queue.another_worker()
        assert await other.claim(str(job_id), ALWAYS)
        for outcome in (
            queue.worker.done(str(job_id)),
            queue.worker.dead(str(job_id), "OSError"),
            queue.worker.retry(str(job_id), utc_now(), "OSError"),
            queue.worker.hand_back(str(job_id)),
        ):
            assert not await outcome
        assert (await queue.job(job_id)).state == "running"
        assert await other.done(str(job_id))

    async def test_may_have_lapsed_if_nobody_has_taken_it(self, queue: Queue) -> None:
        job_id = str(await queue.submit())
        assert await queue.worker.claim(job_id, ALWAYS)
        await queue.redis.delete(keys.lease(job_id))
        assert await queue.worker.done(job_id)
        assert not await queue.worker.done(job_id)


class TestDead:
    async def test_are_shown_with_what_ended_them(self, queue: Queue) -> None:
        job_id = await queue.submit()
        await queue.begin(job_id)
        assert await queue.worker.dead(str(job_id), "OSError")
        overview = await queue.store.overview()
        (dead,) = overview.dead
        assert (dead.id, dead.kind, dead.tries) == (str(job_id), "Report", 1)
        assert dead.error == "OSError"
        assert utc_now() - dead.died_at < timedelta(minutes=1)
        assert (overview.queued, overview.running) == (0, 0)
        assert (await queue.job(job_id)).state == "failed"

    async def test_can_be_tried_once_more(self, queue: Queue) -> None:
        job_id = await queue.submit()
        await queue.begin(job_id)
        await queue.worker.dead(str(job_id), "OSError")
        assert await queue.store.revive(str(job_id))
        assert not await queue.store.revive(str(job_id))
        assert (await queue.store.overview()).dead == ()
        assert (await queue.job(job_id)).state == "queued"
        await queue.begin(job_id)
        assert (await queue.job(job_id)).tries == 1

    async def test_go_when_their_time_has_come(self, queue: Queue) -> None:
        await queue.redis.zadd(keys.DEAD, {"old": 1})
        job_id = await queue.submit()
        await queue.begin(job_id)
        await queue.worker.dead(str(job_id), "OSError")
        assert [each.id for each in (await queue.store.overview()).dead] == [str(job_id)]


class TestOverview:
    async def test_counts_what_waits_and_what_runs(self, queue: Queue) -> None:
        running, delayed, _ = [await queue.submit() for _ in range(3)]
        await queue.begin(running)
        await queue.begin(delayed)
        await queue.worker.retry(str(delayed), utc_now() + timedelta(hours=1), "OSError")
        overview = await queue.store.overview()
        assert (overview.queued, overview.delayed, overview.running) == (1, 1, 1)
        assert overview.workers == ()

    async def test_forgets_workers_that_give_no_sign_of_life(self, queue: Queue) -> None:
        other = queue.another_worker()
        for worker in (queue.worker, other):
            await worker.heartbeat(INFO)
        assert await queue.store.workers() == (INFO, INFO)
        for key in await queue.redis.keys("arq:worker:*"):
            name = key.decode()
            await queue.redis.delete(name[name.index("arq:") :])
        assert await queue.store.workers() == ()
        assert await queue.redis.exists(keys.WORKERS) == 0
