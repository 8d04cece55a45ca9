"""The job queue of this variant, and workers on it."""

import asyncio
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from starlette.testclient import TestClient

from app.config import Settings
from app.core.ids import new_id
from app.core.ports import Job
from app.infrastructure.database import Database
from app.infrastructure.jobs import JobStore, QueueRelay, open_job_redis
from app.infrastructure.jobs.claims import Claims
from app.infrastructure.jobs.connection import JobRedis
from app.infrastructure.jobs.metrics import JobMetrics, Outcome
from app.infrastructure.jobs.worker import Cron, JobWorker
from app.infrastructure.outbox import Relay
from app.resources import Resources
from app.tasks import TASKS
from tests.support.arrange import KINDS
from tests.support.redis_plugin import OwnRedis
from tests.support.waiting import PATIENCE


@contextmanager
def open_store(client: TestClient, settings: Settings) -> Iterator[JobStore]:
    """Open the queue in the loop of a client."""
    assert client.portal is not None
    opening = open_job_redis(settings.redis, settings.jobs, guarded=True)
    with client.portal.wrap_async_context_manager(opening) as redis:
        yield JobStore(redis, settings.jobs)


class Witness(JobMetrics):
    """Records the attempts of a worker, and lets tests wait for them."""

    def __init__(self) -> None:
        super().__init__(CollectorRegistry())
        self.begins: list[tuple[str, int]] = []
        self.ends: list[tuple[str, Outcome]] = []
        self._changed = asyncio.Condition()

    def begun(self, kind: str, tries: int, waited: float) -> None:
        assert waited >= 0
        self.begins.append((kind, tries))
        self._wake()

    def ended(self, kind: str, outcome: Outcome, seconds: float) -> None:
        assert seconds >= 0
        self.ends.append((kind, outcome))
        self._wake()

    async def until(self, holds: Callable[["Witness"], bool]) -> None:
        """Wait until a condition holds."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: holds(self))

    def _wake(self) -> None:
        self._waking = asyncio.get_running_loop().create_task(self._notify())

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def quick(settings: Settings, **jobs: Any) -> Settings:
    """Settings with a queue of their own, on which jobs do not wait and none is lost."""
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
    """The same settings with another Redis."""
    url = SecretStr(server.url)
    return settings.model_copy(update={"redis": settings.redis.model_copy(update={"url": url})})


Run = Callable[[Job], Awaitable[None]]


@asynccontextmanager
async def queue_redis(settings: Settings) -> AsyncIterator[JobRedis]:
    """Yield the client of a worker."""
    async with open_job_redis(settings.redis, settings.jobs) as redis:
        yield redis


def worker_on(
    redis: JobRedis,
    settings: Settings,
    run: Run,
    witness: Witness,
    schedule: Sequence[Cron] = (),
    kinds: Iterable[type[Job]] = TASKS,
) -> JobWorker:
    """Return a worker on this queue."""
    claims = Claims(redis, settings.jobs, str(new_id()))
    return JobWorker(redis, claims, run, kinds, schedule, settings.jobs, witness)


@asynccontextmanager
async def working(
    settings: Settings, run: Run, witness: Witness, kinds: Iterable[type[Job]] = TASKS
) -> AsyncIterator[JobWorker]:
    """Run a worker while the block runs; then stop it, within its grace period."""
    stop = asyncio.Event()
    async with queue_redis(settings) as redis:
        worker = worker_on(redis, settings, run, witness, kinds=kinds)
        serving = asyncio.create_task(worker.serve(stop))
        try:
            yield worker
        finally:
            stop.set()
            await serving


@asynccontextmanager
async def opened(settings: Settings, database: Database, run: Run) -> AsyncIterator[Relay]:
    """Yield a relay, whose jobs are run."""
    own = quick(settings, max_tries=1)
    async with queue_redis(own) as redis:
        store = JobStore(redis, own.jobs)
        relay = QueueRelay(database, KINDS, store)
        async with relay.open(PATIENCE), working(own, run, Witness()):
            yield relay


@asynccontextmanager
async def workers(resources: Resources) -> AsyncIterator[None]:
    """Run the jobs of an application."""
    async with working(resources.settings, resources.run, Witness()):
        yield


async def submitted(
    database: Database, store: JobStore, kinds: Mapping[str, type[Job]] = KINDS
) -> None:
    """Submit the jobs of the outbox, one after another: the connection may be the only one."""
    relay = Relay(database, kinds, store.deliver)
    while claim := await relay._claim_in_slot():
        await asyncio.create_task(relay._attempt(claim))
