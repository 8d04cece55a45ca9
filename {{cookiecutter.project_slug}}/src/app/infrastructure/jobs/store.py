"""Jobs in Redis: submission, status and administration."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast
from uuid import UUID

from sqlalchemy import Row

from app.core.clock import utc_now
from app.core.config import JobSettings
from app.core.jobs import JobFile, JobState, JobStatus, QueueUnavailable
from app.core.ports import Measurement
from app.infrastructure.jobs import keys
from app.infrastructure.jobs.connection import JobPipeline, JobRedis
from app.infrastructure.jobs.keys import JobId
from app.infrastructure.jobs.payloads import encode
from app.infrastructure.payloads import Message

_SHOWN: Final = 1000
_ENDED_PER_OWNER: Final = 1000


@dataclass(frozen=True, slots=True)
class DeadJob:
    """A dead-lettered job, with the name of its last error."""

    id: str
    kind: str
    tries: int
    error: str
    died_at: datetime


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker's heartbeat; jobs done, failed and retried are those since its start."""

    host: str
    pid: int
    started_at: str
    running: int
    done: int
    failed: int
    retried: int


@dataclass(frozen=True, slots=True)
class Overview:
    """State of the queue: jobs that are due, due later, and in progress, and live workers.

    Attributes:
        dead: Dead-lettered jobs, latest first.
    """

    queued: int
    delayed: int
    running: int
    dead: tuple[DeadJob, ...]
    workers: tuple[WorkerInfo, ...]


class JobStore:
    """Submits jobs, and reports and changes their status.

    Each method raises `QueueUnavailable` if Redis does not answer.
    """

    def __init__(self, redis: JobRedis, settings: JobSettings) -> None:
        self._redis = redis
        self._settings = settings

    async def ping(self) -> None:
        """Query Redis."""
        async with self._redis.in_time():
            await self._redis.ping()

    async def deliver(self, row: Row[Any], sent: Message) -> None:
        """Submit a message of the outbox, or cancel its job."""
        await self.submit(row.id, sent, owner_id=row.owner_id, unique=row.name)
        if row.cancelled:
            await self.cancel(row.id)

    async def unfinished(self, owner_id: UUID, unique: str) -> tuple[UUID | None, set[UUID]]:
        """Return the unfinished job of a unique name, and all those of its owner."""
        async with self._redis.in_time(), self._redis.pipeline() as pipe:
            pipe.get(keys.unique(unique))
            pipe.zrangebyscore(keys.unfinished(owner_id), f"({self._horizon()}", "+inf")
            same, owned = await pipe.execute()
        return UUID(same.decode()) if same else None, {UUID(each.decode()) for each in owned}

    async def submit(
        self,
        job_id: JobId,
        sent: Message,
        *,
        owner_id: UUID | None = None,
        unique: str | None = None,
    ) -> None:
        """Submit a job; submitting the same id again has no effect.

        Args:
            job_id: A new id.
            sent: The job.
            owner_id: User who may follow it.
            unique: Name by which `unfinished` finds it.
        """
        life = self._settings.queue_seconds

        async def write(pipe: JobPipeline) -> None:
            if await pipe.exists(keys.payload(job_id), keys.done(job_id)):
                return
            owned = keys.ended(owner_id or "")
            surplus = await pipe.zrange(owned, 0, -_ENDED_PER_OWNER - 1) if owner_id else []
            pipe.multi()
            _forget(pipe, owned, surplus)
            pipe.set(keys.payload(job_id), encode(sent), ex=life)
            pipe.zadd(keys.QUEUE, {str(job_id): milliseconds(utc_now())})
            record = {"kind": sent.kind, "created_at": sent.enqueued_at.isoformat()}
            record |= {"state": "queued"} | ({"owner": str(owner_id)} if owner_id else {})
            if unique:
                record["unique"] = unique
                pipe.set(keys.unique(unique), str(job_id), ex=life)
            if owner_id:
                self._own(pipe, keys.unfinished(owner_id), job_id)
            pipe.hset(keys.record(job_id), mapping=record)
            pipe.expire(keys.record(job_id), life)

        await self._redis.change(write, keys.payload(job_id), keys.done(job_id))

    async def find(self, job_id: UUID) -> JobStatus | None:
        """Return the status of a tracked job."""
        async with self._redis.in_time(), self._redis.pipeline() as pipe:
            pipe.hgetall(keys.record(job_id))
            pipe.exists(keys.lease(job_id))
            stored, held = await pipe.execute()
        record = text(stored)
        if "owner" not in record:
            return None
        state = cast("JobState", record["state"])
        if state == "running" and not held:
            state = "queued"  # its worker died
        result = record.get("result")
        return JobStatus(
            id=job_id,
            kind=record["kind"],
            owner_id=UUID(record["owner"]),
            state=state,
            progress=int(record.get("progress", 0)),
            tries=int(record.get("tries", 0)),
            created_at=datetime.fromisoformat(record["created_at"]),
            started_at=_moment(record.get("started_at")),
            finished_at=_moment(record.get("finished_at")),
            result=JobFile(**json.loads(result)) if result and state == "done" else None,
        )

    async def cancel(self, job_id: UUID) -> None:
        """Cancel a job: at once if it is queued, else as soon as its worker notices."""

        async def write(pipe: JobPipeline) -> None:
            held = await pipe.exists(keys.lease(job_id))
            record = text(await pipe.execute_command("HGETALL", keys.record(job_id)))
            pipe.multi()
            if held:
                pipe.zadd(keys.CANCELLED, {str(job_id): milliseconds(utc_now())})
            elif record.get("state") in {"queued", "running"}:
                pipe.delete(keys.payload(job_id))
                end(pipe, job_id, record, self._settings.result_seconds, state="cancelled")

        await self._redis.change(write, keys.lease(job_id), keys.record(job_id))

    async def delete_ended(self, owner_id: UUID) -> None:
        """Delete the status of an owner's jobs that are done or cancelled."""
        owned = keys.ended(owner_id)
        async with self._redis.in_time(), self._redis.pipeline() as pipe:
            _forget(pipe, owned, await self._redis.zrange(owned, 0, -1))
            await pipe.execute()

    async def set_progress(self, job_id: UUID, done: int) -> None:
        """Store the progress of a running job."""
        await self._set(job_id, "progress", str(done))

    async def set_result(self, job_id: UUID, file: JobFile) -> None:
        """Store the result of a running job, which is visible once the job is done."""
        await self._set(job_id, "result", json.dumps(asdict(file)))

    async def revive(self, job_id: str) -> bool:
        """Requeue a dead-lettered job, and reset its attempts; return whether it existed."""

        async def write(pipe: JobPipeline) -> bool:
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
            pipe.zadd(keys.QUEUE, {job_id: milliseconds(utc_now())})
            pipe.hdel(keys.record(job_id), "finished_at", "error")
            pipe.hset(keys.record(job_id), "state", "queued")
            pipe.expire(keys.record(job_id), self._settings.queue_seconds)
            return True

        return await self._redis.change(write, keys.payload(job_id), keys.DEAD)

    async def overview(self) -> Overview:
        """Return the state of the queue; long lists are truncated."""
        now = milliseconds(utc_now())
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
                records = [text(record) for record in await pipe.execute()]
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

    async def measure(self) -> tuple[Measurement, ...]:
        """Measure the queue."""
        now = milliseconds(utc_now())
        async with self._redis.in_time():
            async with self._redis.pipeline() as pipe:
                pipe.zrangebyscore(keys.QUEUE, "-inf", now, 0, _SHOWN, withscores=True)
                pipe.zcount(keys.QUEUE, "-inf", now)
                pipe.zcard(keys.DEAD)
                due, total, dead = await pipe.execute()
            leases = [keys.lease(each.decode()) for each, _ in due]
            held = await self._redis.mget(leases) if leases else []
        waiting = [at for (_, at), lease in zip(due, held, strict=True) if lease is None]
        age = (now - waiting[0]) / 1000 if waiting else 0.0
        queued = total - len(due) + len(waiting)
        return (
            Measurement("jobs_queued", "Jobs that are due.", queued),
            Measurement("jobs_oldest_age_seconds", "Time for which the oldest was due.", age),
            Measurement("jobs_dead", "Dead-lettered jobs.", dead),
        )

    async def workers(self) -> tuple[WorkerInfo, ...]:
        """Return the live workers."""
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
        """Check that there is a live worker.

        Raises:
            QueueUnavailable: There is none, or Redis does not answer.
        """
        if not await self.workers():
            raise QueueUnavailable(reason="no live worker")

    def _own(self, pipe: JobPipeline, owned: str, job_id: JobId) -> None:
        """Count a job among the unfinished ones of its owner."""
        # Jobs older than this have expired in the queue.
        pipe.zremrangebyscore(owned, "-inf", self._horizon())
        pipe.zadd(owned, {str(job_id): milliseconds(utc_now())})
        pipe.expire(owned, self._settings.queue_seconds)

    def _horizon(self) -> int:
        return milliseconds(utc_now()) - self._settings.queue_seconds * 1000

    async def _set(self, job_id: UUID, name: str, value: str) -> None:
        async with self._redis.in_time(), self._redis.pipeline() as pipe:
            pipe.hset(keys.record(job_id), name, value)
            # The record may have expired meanwhile: this one must, too.
            pipe.expire(keys.record(job_id), self._settings.queue_seconds)
            await pipe.execute()


def end(
    pipe: JobPipeline, job_id: JobId, record: Mapping[str, str], life: int, **outcome: str
) -> None:
    """Store a final outcome, whose fields are kept for `life` seconds."""
    pipe.delete(keys.tries(job_id), keys.lease(job_id))
    pipe.zrem(keys.QUEUE, str(job_id))
    pipe.zrem(keys.CANCELLED, str(job_id))
    pipe.set(keys.done(job_id), b"{}", ex=life)
    if "unique" in record:
        pipe.delete(keys.unique(record["unique"]))
    if "owner" in record:
        pipe.zrem(keys.unfinished(record["owner"]), str(job_id))
        if outcome["state"] != "failed":
            pipe.zadd(keys.ended(record["owner"]), {str(job_id): milliseconds(utc_now())})
            pipe.expire(keys.ended(record["owner"]), life)
    pipe.hset(keys.record(job_id), mapping=outcome | {"finished_at": utc_now().isoformat()})
    pipe.expire(keys.record(job_id), life)


def _forget(pipe: JobPipeline, owned: str, job_ids: list[bytes]) -> None:
    """Delete the status of jobs that have ended, which are in the set `owned`."""
    for each in job_ids:
        pipe.delete(keys.record(each.decode()), keys.done(each.decode()))
        pipe.zrem(owned, each)


def milliseconds(moment: datetime) -> int:
    """Return the score of a moment."""
    return round(moment.timestamp() * 1000)


def text(stored: Mapping[Any, Any]) -> dict[str, str]:
    """Decode a hash."""
    return {name.decode(): value.decode() for name, value in stored.items()}


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
