"""What Redis knows of jobs, for those who ask for them and those who look after them."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast
from uuid import UUID

from redis.exceptions import WatchError

from app.core.clock import utc_now
from app.core.config import JobSettings
from app.domain.tracking import (
    JobFile,
    JobId,
    JobState,
    QueueUnavailable,
    TooManyJobs,
    TrackedJob,
)
from app.domain.users import UserId
from app.infrastructure.jobs import keys
from app.infrastructure.jobs.connection import JobPipeline, JobRedis
from app.infrastructure.jobs.payloads import Packed, to_bytes

_SHOWN: Final = 1000


@dataclass(frozen=True, slots=True)
class DeadJob:
    """A job that was given up.

    Attributes:
        error: Name of the error that ended its last try.
    """

    id: str
    kind: str
    tries: int
    error: str
    died_at: datetime


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What a worker says of itself.

    Attributes:
        running: How many jobs it does just now.
        done: How many it has done since it started; the same for `failed` and `retried`.
    """

    host: str
    pid: int
    started_at: str
    running: int
    done: int
    failed: int
    retried: int


@dataclass(frozen=True, slots=True)
class Overview:
    """How the queue stands.

    Attributes:
        queued: Jobs that may begin.
        delayed: Jobs whose next try has its moment still ahead.
        running: Jobs that are being done.
        dead: Those that were given up, the latest first.
        workers: Those that live.
    """

    queued: int
    delayed: int
    running: int
    dead: tuple[DeadJob, ...]
    workers: tuple[WorkerInfo, ...]


class JobStore:
    """Puts jobs into the queue, and tells what became of them.

    Each method raises `QueueUnavailable` if Redis does not answer.
    """

    def __init__(self, redis: JobRedis, settings: JobSettings) -> None:
        self._redis = redis
        self._settings = settings

    async def submit(
        self,
        job_id: str,
        package: Packed,
        *,
        owner_id: UserId | None = None,
        unique: str | None = None,
    ) -> str:
        """Put a job into the queue; once, however often it is tried with the same id.

        Args:
            job_id: A new id.
            package: The job.
            owner_id: Who may ask about it.
            unique: While another job of this name waits or runs, that one is meant.

        Returns:
            The id of the job that will be done.

        Raises:
            TooManyJobs: Its owner has as many as one may have.
        """
        name = keys.unique(unique) if unique else keys.record(job_id)
        owned = keys.unfinished(str(owner_id)) if owner_id else name
        async with self._redis.in_time():
            while True:
                async with self._redis.pipeline() as pipe:
                    await pipe.watch(name, owned, keys.payload(job_id))
                    if unique and (other := await pipe.get(name)):
                        return str(other.decode())
                    if await pipe.exists(keys.payload(job_id), keys.done(job_id)):
                        return job_id
                    if owner_id:
                        await self._require_room(pipe, owned)
                    pipe.multi()
                    life = self._settings.queue_seconds
                    pipe.set(keys.payload(job_id), to_bytes(package), ex=life)
                    pipe.zadd(keys.QUEUE, {job_id: _milliseconds(utc_now())})
                    record = {"kind": package.kind, "created_at": package.asked_at.isoformat()}
                    record |= {"state": "queued"} | ({"owner": str(owner_id)} if owner_id else {})
                    if unique:
                        record["unique"] = unique
                        pipe.set(name, job_id, ex=life)
                    if owner_id:
                        self._own(pipe, owned, job_id)
                    pipe.hset(keys.record(job_id), mapping=record)
                    pipe.expire(keys.record(job_id), life)
                    try:
                        await pipe.execute()
                    except WatchError:
                        continue
                    return job_id

    async def find(self, job_id: JobId) -> TrackedJob | None:
        """Return a job that somebody owns."""
        async with self._redis.in_time(), self._redis.pipeline() as pipe:
            pipe.hgetall(keys.record(str(job_id)))
            pipe.exists(keys.lease(str(job_id)))
            stored, held = await pipe.execute()
        record = _text(stored)
        if "owner" not in record:
            return None
        state = cast("JobState", record["state"])  # written by us
        if state == "running" and not held:
            state = "queued"  # its worker is gone, and it waits for another
        result = record.get("result")
        return TrackedJob(
            id=job_id,
            kind=record["kind"],
            owner_id=UserId(UUID(record["owner"])),
            state=state,
            progress=int(record.get("progress", 0)),
            tries=int(record.get("tries", 0)),
            created_at=datetime.fromisoformat(record["created_at"]),
            started_at=_moment(record.get("started_at")),
            finished_at=_moment(record.get("finished_at")),
            result=JobFile(**json.loads(result)) if result and state == "done" else None,
        )

    async def cancel(self, job_id: JobId) -> None:
        """End a job: at once if it waits, else as soon as its worker hears of it."""
        name = str(job_id)
        async with self._redis.in_time():
            while True:
                async with self._redis.pipeline() as pipe:
                    await pipe.watch(keys.lease(name), keys.record(name))
                    held = await pipe.exists(keys.lease(name))
                    record = _text(await pipe.execute_command("HGETALL", keys.record(name)))
                    pipe.multi()
                    if held:
                        pipe.zadd(keys.CANCELLED, {name: _milliseconds(utc_now())})
                    elif record.get("state") in {"queued", "running"}:
                        pipe.zrem(keys.QUEUE, name)
                        pipe.delete(keys.payload(name), keys.tries(name))
                        if "unique" in record:
                            pipe.delete(keys.unique(record["unique"]))
                        if "owner" in record:
                            pipe.zrem(keys.unfinished(record["owner"]), name)
                        ended = {"state": "cancelled", "finished_at": utc_now().isoformat()}
                        pipe.hset(keys.record(name), mapping=ended)
                        pipe.expire(keys.record(name), self._settings.result_seconds)
                    try:
                        await pipe.execute()
                    except WatchError:
                        continue
                    return

    async def progress(self, job_id: JobId, done: int) -> None:
        """Note how many things a job has done so far."""
        await self._note(job_id, "progress", str(done))

    async def result(self, job_id: JobId, file: JobFile) -> None:
        """Note the file that a job has made; it is shown once the job is done."""
        await self._note(job_id, "result", json.dumps(asdict(file)))

    async def revive(self, job_id: str) -> bool:
        """Put a dead job back into the queue, with all its tries; tell if it was there."""
        async with self._redis.in_time(), self._redis.pipeline() as pipe:
            await pipe.watch(keys.payload(job_id), keys.DEAD)
            known = await pipe.exists(keys.payload(job_id))
            if not known or await pipe.zscore(keys.DEAD, job_id) is None:
                return False
            owner = await pipe.execute_command("HGET", keys.record(job_id), "owner")
            pipe.multi()
            if owner:
                self._own(pipe, keys.unfinished(owner.decode()), job_id)
            pipe.zrem(keys.DEAD, job_id)
            pipe.delete(keys.tries(job_id), keys.done(job_id))
            pipe.expire(keys.payload(job_id), self._settings.queue_seconds)
            pipe.zadd(keys.QUEUE, {job_id: _milliseconds(utc_now())})
            pipe.hdel(keys.record(job_id), "finished_at", "error")
            pipe.hset(keys.record(job_id), "state", "queued")
            pipe.expire(keys.record(job_id), self._settings.queue_seconds)
            await pipe.execute()
        return True

    async def overview(self) -> Overview:
        """Return how the queue stands; of very long lists, their beginning."""
        now = _milliseconds(utc_now())
        async with self._redis.in_time():
            async with self._redis.pipeline() as pipe:
                pipe.zrange(keys.QUEUE, 0, _SHOWN - 1)
                pipe.zcard(keys.QUEUE)
                pipe.zcount(keys.QUEUE, f"({now}", "+inf")
                pipe.zrange(keys.DEAD, 0, _SHOWN - 1, desc=True, withscores=True)
                waiting, total, delayed, dead = await pipe.execute()
            leases = [keys.lease(each.decode()) for each in waiting]
            running = await self._redis.exists(*leases) if leases else 0
            async with self._redis.pipeline(transaction=False) as pipe:
                for each, _ in dead:
                    pipe.hgetall(keys.record(each.decode()))
                records = [_text(record) for record in await pipe.execute()]
        return Overview(
            queued=max(0, total - delayed - running),
            delayed=delayed,
            running=running,
            dead=tuple(
                DeadJob(
                    id=each.decode(),
                    kind=record.get("kind", "unknown"),
                    tries=int(record.get("tries", 0)),
                    error=record.get("error", "unknown"),
                    died_at=datetime.fromtimestamp(score / 1000, UTC),
                )
                for (each, score), record in zip(dead, records, strict=True)
            ),
            workers=await self.workers(),
        )

    async def workers(self) -> tuple[WorkerInfo, ...]:
        """Return the workers that live."""
        async with self._redis.in_time():
            members = await self._redis.execute_command("SMEMBERS", keys.WORKERS)
            known = sorted(each.decode() for each in members)
            if not known:
                return ()
            found = await self._redis.mget([keys.worker(each) for each in known])
            if gone := [each for each, info in zip(known, found, strict=True) if info is None]:
                await self._redis.execute_command("SREM", keys.WORKERS, *gone)
        return tuple(WorkerInfo(**json.loads(info)) for info in found if info is not None)

    async def require_worker(self) -> None:
        """Pass if a worker lives.

        Raises:
            QueueUnavailable: None does, or Redis does not answer.
        """
        if not await self.workers():
            raise QueueUnavailable(reason="no worker lives")

    async def _require_room(self, pipe: JobPipeline, owned: str) -> None:
        """Pass if the owner of these unfinished jobs may have one more."""
        number = await pipe.execute_command("ZCOUNT", owned, f"({self._forgotten()}", "+inf")
        if number >= self._settings.unfinished_per_user:
            raise TooManyJobs(f"{number} of your jobs wait or run. Cancel one, or come back later.")

    def _own(self, pipe: JobPipeline, owned: str, job_id: str) -> None:
        """Count a job among the unfinished ones of its owner."""
        # A job that nobody began in time is given up when nothing is known of it any more.
        pipe.zremrangebyscore(owned, "-inf", self._forgotten())
        pipe.zadd(owned, {job_id: _milliseconds(utc_now())})
        pipe.expire(owned, self._settings.queue_seconds)

    def _forgotten(self) -> int:
        """The moment before which a job must have been asked for to be forgotten by now."""
        return _milliseconds(utc_now()) - self._settings.queue_seconds * 1000

    async def _note(self, job_id: JobId, name: str, value: str) -> None:
        async with self._redis.in_time(), self._redis.pipeline() as pipe:
            pipe.hset(keys.record(str(job_id)), name, value)
            # Should the record have lapsed, what is written now must do so, too.
            pipe.expire(keys.record(str(job_id)), self._settings.queue_seconds)
            await pipe.execute()


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _text(stored: Mapping[Any, Any]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in stored.items()}


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
