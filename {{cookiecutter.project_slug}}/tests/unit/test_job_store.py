"""The store of jobs and the leases of workers."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import pytest

from app.config import Settings
from app.core.clock import utc_now
from app.core.ids import new_id
from app.core.jobs import JobFile, JobStatus, TrackedJob
from app.domain.notifications import SendMail
from app.domain.users import UserId
from app.infrastructure.jobs import keys, store
from app.infrastructure.jobs.claims import Claims
from app.infrastructure.jobs.connection import JobRedis
from app.infrastructure.jobs.store import JobStore, WorkerInfo
from app.infrastructure.payloads import Message
from tests.support.queues import queue_redis, quick

OWNER = new_id()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(TrackedJob):
    """Write something to a file."""


ALWAYS = 2**50
"""A moment, in milliseconds, before which everything may begin."""

FILE = JobFile("exports/1.csv", "text/csv", "report.csv", 12, "ab" * 32)
MAIL = Message(SendMail("password_changed", UserId(OWNER)))
INFO = WorkerInfo("host", 1, "2026-11-21T10:30:00+00:00", 0, 0, 0, 0)


class Queue:
    """A queue as seen by the store and by workers."""

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
        await self.store.submit(job_id, message, owner_id=OWNER, unique=unique)
        return job_id

    async def unfinished(self) -> int:
        _, owned = await self.store.unfinished(OWNER, "name")
        return len(owned)

    async def begin(self, job_id: UUID | None = None) -> UUID:
        job_id = job_id or await self.submit()
        assert await self.worker.claim(str(job_id), ALWAYS)
        attempt = await self.worker.begin(str(job_id))
        await self.worker.running(str(job_id), "Report", attempt.number)
        return job_id

    async def die(self) -> UUID:
        job_id = await self.begin()
        assert await self.worker.dead(str(job_id), "OSError")
        return job_id

    async def job(self, job_id: UUID) -> JobStatus:
        job = await self.store.find(job_id)
        assert job is not None
        return job


@pytest.fixture
async def queue(settings: Settings) -> AsyncIterator[Queue]:
    own = quick(settings)
    async with queue_redis(own) as redis:
        yield Queue(redis, own)


async def test_keys_have_the_prefix_and_expire_except_for_the_lists(
    queue: Queue, settings: Settings
) -> None:
    await queue.begin(await queue.submit(unique="one"))
    await queue.die()
    await queue.store.cancel(await queue.submit())
    await queue.worker.heartbeat(INFO)
    lists = {keys.QUEUE, keys.DEAD, keys.WORKERS}
    found = [key.decode() for key in await queue.redis.keys("arq:*")]
    assert len(found) > 6
    for key in found:
        assert key.startswith(f"{settings.redis.prefix}-")
        name = key[key.index("arq:") :]
        assert name in lists or await queue.redis.ttl(name) > 0


class TestSubmit:
    async def test_has_no_effect_with_the_same_id(self, queue: Queue) -> None:
        for _ in range(2):
            await queue.store.submit("1", MAIL)
        assert (await queue.store.overview()).queued == 1
        assert await queue.worker.claim("1", ALWAYS)
        assert await queue.worker.done("1")
        await queue.store.submit("1", MAIL)
        assert (await queue.store.overview()).queued == 0


class TestUnfinishedJobs:
    async def test_have_a_unique_name(self, queue: Queue) -> None:
        assert await queue.store.unfinished(OWNER, "name") == (None, set())
        job_id = await queue.submit(unique="name")
        assert await queue.store.unfinished(OWNER, "name") == (job_id, {job_id})
        assert await queue.store.unfinished(OWNER, "other") == (None, {job_id})
        assert await queue.store.unfinished(new_id(), "other") == (None, set())
        await queue.begin(job_id)
        assert await queue.store.unfinished(OWNER, "name") == (job_id, {job_id})
        await queue.worker.done(str(job_id))
        assert await queue.store.unfinished(OWNER, "name") == (None, set())

    @pytest.mark.parametrize("end", ["done", "cancelled", "dead", "never begun"])
    async def test_no_longer_count_once_they_have_ended(self, queue: Queue, end: str) -> None:
        first, _ = [await queue.submit() for _ in range(2)]
        assert await queue.unfinished() == 2
        if end == "never begun":
            await queue.store.cancel(first)
        else:
            await queue.begin(first)
            error = ["OSError"] if end == "dead" else []
            assert await getattr(queue.worker, end)(str(first), *error)
        assert await queue.unfinished() == 1

    async def test_count_while_they_are_retried(self, queue: Queue) -> None:
        retried, revived = await queue.begin(), await queue.die()
        await queue.worker.retry(str(retried), utc_now(), "OSError")
        assert await queue.store.revive(str(revived))
        assert await queue.unfinished() == 2

    async def test_expire_with_their_records(self, queue: Queue) -> None:
        long_ago = (utc_now() - timedelta(seconds=queue.settings.queue_seconds)).timestamp() * 1000
        owned = keys.unfinished(OWNER)
        await queue.redis.zadd(owned, {"old": long_ago, "older": 1})
        await queue.submit()
        assert await queue.redis.zcard(owned) == 1


class TestFind:
    async def test_returns_state_progress_and_result(self, queue: Queue) -> None:
        job_id = await queue.submit()
        job = await queue.job(job_id)
        assert (job.id, job.kind, job.owner_id) == (job_id, "Report", OWNER)
        assert (job.state, job.progress, job.tries, job.result) == ("queued", 0, 0, None)
        assert (job.started_at, job.finished_at) == (None, None)

        await queue.begin(job_id)
        await queue.store.set_progress(job_id, 500)
        await queue.store.set_result(job_id, FILE)
        job = await queue.job(job_id)
        assert (job.state, job.progress, job.tries, job.result) == ("running", 500, 1, None)
        assert job.started_at is not None

        await queue.worker.done(str(job_id))
        await queue.store.cancel(job_id)
        job = await queue.job(job_id)
        assert (job.state, job.progress, job.result) == ("done", 500, FILE)
        assert job.finished_at is not None

    async def test_ignores_jobs_without_an_owner(self, queue: Queue) -> None:
        job_id = new_id()
        await queue.store.submit(str(job_id), MAIL)
        assert await queue.store.find(job_id) is None
        assert await queue.store.find(new_id()) is None

    async def test_returns_queued_after_its_worker_died(self, queue: Queue) -> None:
        job_id = await queue.begin()
        await queue.redis.delete(keys.lease(job_id))
        assert (await queue.job(job_id)).state == "queued"


async def test_a_queued_job_is_cancelled_at_once(queue: Queue) -> None:
    job_id = await queue.submit()
    await queue.store.cancel(job_id)
    assert (await queue.job(job_id)).state == "cancelled"
    assert (await queue.store.overview()).queued == 0
    assert not await queue.worker.claim(str(job_id), ALWAYS)


class TestEndedJobs:
    async def test_are_kept_up_to_a_number_per_owner(
        self, queue: Queue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(store, "_ENDED_PER_OWNER", 2)
        dead = await queue.die()
        cancelled, done, *others = [await queue.submit() for _ in range(5)]
        await queue.store.cancel(cancelled)
        assert await queue.worker.done(str(await queue.begin(done)))
        for each in others:
            await queue.store.cancel(each)
        queued = await queue.submit()

        found = [await queue.store.find(each) for each in (dead, cancelled, done, *others, queued)]
        assert [each and each.state for each in found] == [
            "failed",
            None,
            None,
            None,
            "cancelled",
            "cancelled",
            "queued",
        ]
        assert not await queue.redis.exists(keys.done(cancelled), keys.done(done))

    async def test_are_deleted_with_their_owner(self, queue: Queue) -> None:
        cancelled, queued = [await queue.submit() for _ in range(2)]
        await queue.store.cancel(cancelled)
        await queue.store.delete_ended(OWNER)

        assert await queue.store.find(cancelled) is None
        assert not await queue.redis.exists(keys.done(cancelled), keys.ended(OWNER))
        assert (await queue.job(queued)).state == "queued"


class TestLease:
    async def test_has_one_holder_and_only_for_a_due_job(self, queue: Queue) -> None:
        job_id = str(await queue.submit())
        assert not await queue.worker.claim(job_id, 0)
        claims = [queue.another_worker() for _ in range(5)]
        got = await asyncio.gather(*(each.claim(job_id, ALWAYS) for each in claims))
        assert sorted(got) == [False] * 4 + [True]

    async def test_is_renewed_by_its_holder(self, queue: Queue) -> None:
        job_id = str(await queue.begin())
        await queue.redis.pexpire(keys.lease(job_id), 500)
        assert await queue.worker.renew([job_id]) == []
        assert await queue.redis.pttl(keys.lease(job_id)) > 500
        assert await queue.another_worker().renew([job_id]) == [job_id]
        assert await queue.worker.renew([]) == []

    async def test_is_taken_back_after_it_expired_unless_another_worker_has_it(
        self, queue: Queue
    ) -> None:
        job_id = str(await queue.begin())
        await queue.redis.delete(keys.lease(job_id))
        assert await queue.worker.renew([job_id]) == []
        await queue.redis.delete(keys.lease(job_id))
        assert await queue.another_worker().claim(job_id, ALWAYS)
        assert await queue.worker.renew([job_id]) == [job_id]

    async def test_is_required_for_outcomes(self, queue: Queue) -> None:
        job_id = str(await queue.begin())
        await queue.redis.delete(keys.lease(job_id))
        other = queue.another_worker()
        assert await other.claim(job_id, ALWAYS)
        for outcome in (
            queue.worker.done(job_id),
            queue.worker.dead(job_id, "OSError"),
            queue.worker.retry(job_id, utc_now(), "OSError"),
            queue.worker.hand_back(job_id),
        ):
            assert not await outcome
        assert (await queue.job(UUID(job_id))).state == "running"
        await queue.redis.delete(keys.lease(job_id))
        # It may have expired unless another worker has it.
        assert await other.done(job_id)
        assert not await other.done(job_id)


class TestDeadJobs:
    async def test_are_listed_and_can_be_revived(self, queue: Queue) -> None:
        await queue.redis.zadd(keys.DEAD, {"expired": 1})
        job_id = await queue.die()
        overview = await queue.store.overview()
        (dead,) = overview.dead
        assert (dead.id, dead.kind, dead.tries) == (str(job_id), "Report", 1)
        assert dead.error == "OSError"
        assert utc_now() - dead.died_at < timedelta(minutes=1)
        assert (overview.queued, overview.running) == (0, 0)
        assert (await queue.job(job_id)).state == "failed"

        assert await queue.store.revive(str(job_id))
        assert not await queue.store.revive(str(job_id))
        assert (await queue.store.overview()).dead == ()
        assert (await queue.job(job_id)).state == "queued"
        await queue.begin(job_id)
        assert (await queue.job(job_id)).tries == 1


class TestOverview:
    async def test_counts_jobs_by_state(self, queue: Queue) -> None:
        running, delayed, _ = [await queue.submit() for _ in range(3)]
        await queue.begin(running)
        await queue.begin(delayed)
        await queue.worker.retry(str(delayed), utc_now() + timedelta(hours=1), "OSError")
        overview = await queue.store.overview()
        assert (overview.queued, overview.delayed, overview.running) == (1, 1, 1)
        assert overview.workers == ()

    async def test_drops_workers_without_a_heartbeat(self, queue: Queue) -> None:
        for worker in (queue.worker, queue.another_worker()):
            await worker.heartbeat(INFO)
        assert await queue.store.workers() == (INFO, INFO)
        for key in await queue.redis.keys("arq:worker:*"):
            name = key.decode()
            await queue.redis.delete(name[name.index("arq:") :])
        assert await queue.store.workers() == ()
        assert await queue.redis.exists(keys.WORKERS) == 0
