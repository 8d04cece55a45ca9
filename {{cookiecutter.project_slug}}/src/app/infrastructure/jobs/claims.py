"""A worker's side of the queue: who does which job, and what came of it.

Whoever does a job holds its lease, a key with the worker's name that lapses unless it is renewed.
Every outcome is one transaction that checks the lease: a worker that was taken for dead and comes
back has lost it, and changes nothing.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime

from redis.exceptions import WatchError

from app.core.clock import utc_now
from app.core.config import JobSettings
from app.infrastructure.jobs import keys
from app.infrastructure.jobs.connection import JobPipeline, JobRedis
from app.infrastructure.jobs.store import WorkerInfo

_SECONDS_OF_TRIES = 88_400  # as arq has it


@dataclass(frozen=True, slots=True)
class Begun:
    """A job that we have begun.

    Attributes:
        payload: The job as it was written down; None if it waited too long.
        tries: How often it was begun, this time included.
        cancelled: Whether somebody has cancelled it before.
    """

    payload: bytes | None
    tries: int
    cancelled: bool


class Claims:
    """Claims jobs in the name of one worker, and tells what came of them.

    Each method raises `QueueUnavailable` if Redis does not answer.
    """

    def __init__(self, redis: JobRedis, settings: JobSettings, worker_id: str) -> None:
        self._redis = redis
        self._settings = settings
        self._worker_id = worker_id
        self._lease_ms = round(settings.lease_seconds * 1000)

    async def claim(self, job_id: str, now_ms: int) -> bool:
        """Take the lease of a job that may begin; tell if we have it."""
        async with self._redis.in_time():
            if not await self._redis.set(
                keys.lease(job_id), self._worker_id, nx=True, px=self._lease_ms
            ):
                return False
            score = await self._redis.zscore(keys.QUEUE, job_id)
            if score is not None and score <= now_ms:
                return True
            # Somebody has done it, or put it off, since we looked.
            await self._redis.delete(keys.lease(job_id))
            return False

    async def renew(self, job_ids: Iterable[str]) -> list[str]:
        """Hold the leases of these jobs on; return those that we have lost."""
        names = list(job_ids)
        if not names:
            return []
        async with self._redis.in_time():
            holders = await self._redis.mget([keys.lease(each) for each in names])
            ours = self._worker_id.encode()
            async with self._redis.pipeline() as pipe:
                for each, holder in zip(names, holders, strict=True):
                    if holder == ours:
                        pipe.pexpire(keys.lease(each), self._lease_ms)
                    elif holder is None:
                        # It lapsed while Redis did not answer, and nobody has taken it.
                        pipe.set(keys.lease(each), ours, nx=True, px=self._lease_ms)
                kept = iter(await pipe.execute())
        return [
            each
            for each, holder in zip(names, holders, strict=True)
            if holder not in {ours, None} or not next(kept)
        ]

    async def begin(self, job_id: str) -> Begun:
        """Count a try, and return what is to be done."""
        async with self._redis.in_time(), self._redis.pipeline() as pipe:
            pipe.get(keys.payload(job_id))
            pipe.incr(keys.tries(job_id))
            pipe.expire(keys.tries(job_id), _SECONDS_OF_TRIES)
            pipe.zrem(keys.CANCELLED, job_id)
            payload, tries, _, cancelled = await pipe.execute()
        return Begun(payload, tries, bool(cancelled))

    async def note_start(self, job_id: str, kind: str, tries: int) -> None:
        """Note that a job runs."""
        record = {"kind": kind, "state": "running", "tries": tries, "progress": 0}
        async with self._redis.in_time(), self._redis.pipeline() as pipe:
            pipe.hset(keys.record(job_id), mapping=record | {"started_at": utc_now().isoformat()})
            pipe.expire(keys.record(job_id), self._settings.queue_seconds)
            await pipe.execute()

    async def done(self, job_id: str) -> bool:
        """Note that a job is done; False if it was no longer ours."""
        return await self._end(job_id, {"state": "done"}, self._settings.result_seconds)

    async def cancelled(self, job_id: str) -> bool:
        """Note that a job has ended because somebody wanted it to."""
        return await self._end(job_id, {"state": "cancelled"}, self._settings.result_seconds)

    async def dead(self, job_id: str, error: str) -> bool:
        """Give a job up; it is kept among the dead, with what it takes to try it once more."""
        now, life = utc_now(), self._settings.dead_seconds

        def keep(pipe: JobPipeline) -> None:
            moment = now.timestamp() * 1000
            pipe.expire(keys.payload(job_id), life)
            pipe.zadd(keys.DEAD, {job_id: moment})
            pipe.zremrangebyscore(keys.DEAD, "-inf", moment - life * 1000)

        return await self._end(job_id, {"state": "failed", "error": error}, life, keep)

    async def again(self, job_id: str, at: datetime, error: str) -> bool:
        """Put a job off; False if it was no longer ours."""

        def write(pipe: JobPipeline, *_: str | None) -> None:
            pipe.zadd(keys.QUEUE, {job_id: round(at.timestamp() * 1000)})
            pipe.hset(keys.record(job_id), mapping={"state": "queued", "error": error})
            pipe.delete(keys.lease(job_id))

        return await self._if_held(job_id, write)

    async def hand_back(self, job_id: str) -> bool:
        """Let another worker have a job at once; the try does not count."""

        def write(pipe: JobPipeline, *_: str | None) -> None:
            pipe.decr(keys.tries(job_id))
            pipe.hset(keys.record(job_id), "state", "queued")
            pipe.delete(keys.lease(job_id))

        return await self._if_held(job_id, write)

    async def beat(self, info: WorkerInfo) -> None:
        """Give a sign of life."""
        async with self._redis.in_time(), self._redis.pipeline() as pipe:
            pipe.sadd(keys.WORKERS, self._worker_id)
            pipe.set(keys.worker(self._worker_id), json.dumps(asdict(info)), px=self._lease_ms)
            await pipe.execute()

    async def leave(self) -> None:
        """Say goodbye."""
        async with self._redis.in_time(), self._redis.pipeline() as pipe:
            pipe.srem(keys.WORKERS, self._worker_id)
            pipe.delete(keys.worker(self._worker_id))
            await pipe.execute()

    async def _end(
        self,
        job_id: str,
        outcome: dict[str, str],
        life: int,
        and_also: Callable[[JobPipeline], None] | None = None,
    ) -> bool:
        """Note that a job is over.

        Args:
            job_id: Which job.
            outcome: What its record says from now on.
            life: Seconds until the record goes.
            and_also: What else belongs to it; without this, the job itself goes.
        """

        def write(pipe: JobPipeline, unique: str | None, owner: str | None) -> None:
            pipe.delete(keys.tries(job_id), keys.lease(job_id))
            pipe.zrem(keys.QUEUE, job_id)
            pipe.zrem(keys.CANCELLED, job_id)
            pipe.set(keys.done(job_id), b"{}", ex=life)
            if unique is not None:
                pipe.delete(keys.unique(unique))
            if owner is not None:
                pipe.zrem(keys.unfinished(owner), job_id)
            pipe.hset(keys.record(job_id), mapping=outcome | {"finished_at": utc_now().isoformat()})
            pipe.expire(keys.record(job_id), life)
            if and_also:
                and_also(pipe)
            else:
                pipe.delete(keys.payload(job_id))

        return await self._if_held(job_id, write)

    async def _if_held(
        self, job_id: str, write: Callable[[JobPipeline, str | None, str | None], None]
    ) -> bool:
        """Write something in one step, if the lease is ours; tell if it was.

        Args:
            job_id: Whose lease.
            write: Is given the job's unique name and the id of its owner, if it has them.
        """
        async with self._redis.in_time():
            while True:
                async with self._redis.pipeline() as pipe:
                    await pipe.watch(keys.lease(job_id), keys.payload(job_id))
                    holder = await pipe.get(keys.lease(job_id))
                    # It may have lapsed while Redis was away, with nobody else to take it.
                    if holder not in {self._worker_id.encode(), None}:
                        return False
                    if await pipe.zscore(keys.QUEUE, job_id) is None:
                        return False
                    unique, owner = await pipe.execute_command(
                        "HMGET", keys.record(job_id), "unique", "owner"
                    )
                    pipe.multi()
                    write(pipe, unique and unique.decode(), owner and owner.decode())
                    try:
                        await pipe.execute()
                    except WatchError:
                        continue
                    return True
