"""What takes jobs, with a way to wait for them: the contract of `Jobs` is tried on it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from pydantic import SecretStr

from app.config import Settings
from app.core.ids import new_id
from app.core.ports import Jobs, Mailer
from app.infrastructure.jobs.claims import Claims
from app.infrastructure.jobs.connection import open_job_redis
from app.infrastructure.jobs.queue import JobQueue, open_jobs
from app.infrastructure.jobs.store import JobStore
from app.services.handlers import Handlers, common_handlers
from app.worker.worker import JobWorker, Outcome
from tests.support.redis_plugin import OwnRedis
from tests.support.waiting import PATIENCE, eventually


class Witness:
    """Notes what a worker does, and wakes those who wait for it."""

    def __init__(self) -> None:
        self.begins: list[tuple[str, int]] = []
        self.ends: list[tuple[str, Outcome]] = []
        self._changed = asyncio.Condition()

    def begun(self, kind: str, tries: int, waited: float) -> None:
        assert waited >= 0
        self.begins.append((kind, tries))
        self._tell()

    def ended(self, kind: str, outcome: Outcome, seconds: float) -> None:
        assert seconds >= 0
        self.ends.append((kind, outcome))
        self._tell()

    async def until(self, holds: Callable[["Witness"], bool]) -> None:
        """Wait until something holds of what was seen."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: holds(self))

    def _tell(self) -> None:
        self._telling = asyncio.get_running_loop().create_task(self._notify())

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def quick(settings: Settings, **jobs: Any) -> Settings:
    """Settings with a queue of their own: jobs do not wait, and on a slow machine none is lost."""
    fast = {
        "poll_seconds": 0.02,
        "retry_seconds": 0.01,
        "lease_seconds": 10.0,
        "command_seconds": 10.0,
    } | jobs
    return settings.model_copy(
        update={
            "redis": settings.redis.model_copy(
                update={"prefix": f"{settings.redis.prefix}-{new_id().hex}"}
            ),
            "jobs": settings.jobs.model_copy(update=fast),
        }
    )


def on(settings: Settings, server: OwnRedis) -> Settings:
    """The same settings for another Redis."""
    url = SecretStr(server.url)
    return settings.model_copy(update={"redis": settings.redis.model_copy(update={"url": url})})


@asynccontextmanager
async def working(
    settings: Settings, handlers: Handlers, witness: Witness
) -> AsyncIterator[JobWorker]:
    """Have a worker do jobs while the block runs; then it stops, within its grace."""
    stop = asyncio.Event()
    async with open_job_redis(settings) as redis:
        claims = Claims(redis, settings.jobs, str(new_id()))
        worker = JobWorker(redis, claims, handlers, settings.jobs, witness)
        serving = asyncio.create_task(worker.serve(stop))
        try:
            yield worker
        finally:
            stop.set()
            await serving


@asynccontextmanager
async def opened(
    settings: Settings, mailer: Mailer
) -> AsyncIterator[tuple[Jobs, Callable[[], Awaitable[None]]]]:
    """Yield what takes jobs, and what waits until all of them are done."""
    own = quick(settings, max_tries=1)
    async with (
        open_jobs(own, mailer) as queue,
        working(own, common_handlers(mailer), Witness()),
        open_job_redis(own) as redis,
    ):
        assert isinstance(queue.jobs, JobQueue)
        store = JobStore(redis, own.jobs)

        async def is_empty() -> bool:
            overview = await store.overview()
            return overview.queued + overview.running + overview.delayed == 0

        async def done() -> None:
            await eventually(is_empty)

        yield queue.jobs, done
