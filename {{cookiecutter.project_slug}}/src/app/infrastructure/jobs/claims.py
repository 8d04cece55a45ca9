"""A worker's side of the queue: leases and outcomes.

The worker of a job holds its lease, a key with the worker's id that expires unless it is renewed.
Each outcome is a transaction that checks the lease: a worker that was presumed dead has lost it,
and changes nothing.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

from app.core.clock import utc_now
from app.core.config import JobSettings
from app.infrastructure.jobs import keys
from app.infrastructure.jobs.connection import JobPipeline, JobRedis
from app.infrastructure.jobs.store import WorkerInfo, end, milliseconds, text

_SECONDS_OF_TRIES = 88_400  # as in arq
_SECONDS_OF_DEAD = 14 * 86_400


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt to run a job, whose payload may have expired; the first has number 1."""

    payload: bytes | None
    number: int
    cancelled: bool


class Claims:
    """Claims jobs for one worker, and stores their outcomes.

    Each method raises `QueueUnavailable` if Redis does not answer. Outcomes return False if the
    lease was lost.
    """

    def __init__(self, redis: JobRedis, settings: JobSettings, worker_id: str) -> None:
        self._redis = redis
        self._settings = settings
        self._worker_id = worker_id
        self._lease_ms = round(settings.lease_seconds * 1000)

    async def claim(self, job_id: str, now_ms: int) -> bool:
        """Take the lease of a job that is due; return whether it was free."""
        async with self._redis.in_time():
            if not await self._redis.set(
                keys.lease(job_id), self._worker_id, nx=True, px=self._lease_ms
            ):
                return False
            score = await self._redis.zscore(keys.QUEUE, job_id)
            if score is not None and score <= now_ms:
                return True
            # Done or delayed by another worker meanwhile.
            await self._redis.delete(keys.lease(job_id))
            return False

    async def owners(self, job_ids: Iterable[str]) -> list[str]:
        """Return the owner of each job, or an empty text if it has none."""
        async with self._redis.in_time(), self._redis.pipeline(transaction=False) as pipe:
            for each in job_ids:
                pipe.hget(keys.record(each), "owner")
            return [(owner or b"").decode() for owner in await pipe.execute()]

    async def renew(self, job_ids: Iterable[str]) -> list[str]:
        """Renew the leases of these jobs; return those that are lost."""
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
                        # It expired while Redis was unavailable, and no worker has taken it.
                        pipe.set(keys.lease(each), ours, nx=True, px=self._lease_ms)
                renewed = iter(await pipe.execute())
        return [
            each
            for each, holder in zip(names, holders, strict=True)
            if holder not in {ours, None} or not next(renewed)
        ]

    async def begin(self, job_id: str) -> Attempt:
        """Count an attempt, and return the job."""
        async with self._redis.in_time(), self._redis.pipeline() as pipe:
            pipe.get(keys.payload(job_id))
            pipe.incr(keys.tries(job_id))
            pipe.expire(keys.tries(job_id), _SECONDS_OF_TRIES)
            pipe.zrem(keys.CANCELLED, job_id)
            payload, tries, _, cancelled = await pipe.execute()
        return Attempt(payload, tries, bool(cancelled))

    async def running(self, job_id: str, kind: str, tries: int) -> None:
        """Store that a job is running."""
        record = {"kind": kind, "state": "running", "tries": tries, "progress": 0}
        async with self._redis.in_time(), self._redis.pipeline() as pipe:
            pipe.hset(keys.record(job_id), mapping=record | {"started_at": utc_now().isoformat()})
            pipe.expire(keys.record(job_id), self._settings.queue_seconds)
            await pipe.execute()

    async def done(self, job_id: str) -> bool:
        """Store that a job is done."""
        return await self._end(job_id, self._settings.result_seconds, state="done")

    async def cancelled(self, job_id: str) -> bool:
        """Store that a job was cancelled."""
        return await self._end(job_id, self._settings.result_seconds, state="cancelled")

    async def dead(self, job_id: str, error: str) -> bool:
        """Dead-letter a job: it is kept so that it can be retried by hand."""
        return await self._end(job_id, _SECONDS_OF_DEAD, state="failed", error=error)

    async def retry(self, job_id: str, at: datetime, error: str) -> bool:
        """Delay a job until its next attempt."""

        def write(pipe: JobPipeline, _: Mapping[str, str]) -> None:
            pipe.zadd(keys.QUEUE, {job_id: milliseconds(at)})
            pipe.hset(keys.record(job_id), mapping={"state": "queued", "error": error})
            pipe.delete(keys.lease(job_id))

        return await self._if_held(job_id, write)

    async def hand_back(self, job_id: str) -> bool:
        """Requeue a job at once, without counting the attempt."""

        def write(pipe: JobPipeline, _: Mapping[str, str]) -> None:
            pipe.decr(keys.tries(job_id))
            pipe.hset(keys.record(job_id), "state", "queued")
            pipe.delete(keys.lease(job_id))

        return await self._if_held(job_id, write)

    async def heartbeat(self, info: WorkerInfo) -> None:
        """Register this worker until its lease expires."""
        async with self._redis.in_time(), self._redis.pipeline() as pipe:
            pipe.sadd(keys.WORKERS, self._worker_id)
            pipe.set(keys.worker(self._worker_id), json.dumps(asdict(info)), px=self._lease_ms)
            await pipe.execute()

    async def deregister(self) -> None:
        """Deregister this worker."""
        async with self._redis.in_time(), self._redis.pipeline() as pipe:
            pipe.srem(keys.WORKERS, self._worker_id)
            pipe.delete(keys.worker(self._worker_id))
            await pipe.execute()

    async def _end(self, job_id: str, life: int, **outcome: str) -> bool:
        """Store a final outcome for `life` seconds; only dead jobs keep their payload."""

        def write(pipe: JobPipeline, record: Mapping[str, str]) -> None:
            end(pipe, job_id, record, life, **outcome)
            if outcome["state"] == "failed":
                now = milliseconds(utc_now())
                pipe.expire(keys.payload(job_id), life)
                pipe.zadd(keys.DEAD, {job_id: now})
                pipe.zremrangebyscore(keys.DEAD, "-inf", now - life * 1000)
            else:
                pipe.delete(keys.payload(job_id))

        return await self._if_held(job_id, write)

    async def _if_held(
        self, job_id: str, write: Callable[[JobPipeline, Mapping[str, str]], None]
    ) -> bool:
        """Run commands if this worker holds the lease; return False if it does not."""

        async def change(pipe: JobPipeline) -> bool:
            holder = await pipe.get(keys.lease(job_id))
            # It may have expired while Redis was unavailable, without another worker taking it.
            if holder not in {self._worker_id.encode(), None}:
                return False
            if await pipe.zscore(keys.QUEUE, job_id) is None:
                return False
            record = text(await pipe.execute_command("HGETALL", keys.record(job_id)))
            pipe.multi()
            write(pipe, record)
            return True

        return await self._redis.change(change, keys.lease(job_id), keys.payload(job_id))
