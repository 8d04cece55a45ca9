"""Jobs in Redis: their format, and calls while it is unavailable."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from app.config import Settings
from app.core.ids import new_id
from app.core.jobs import QueueUnavailable, TrackedJob
from app.core.ports import Job
from app.domain.notifications import SendMail
from app.domain.users import UserId
from app.infrastructure.jobs import JobStore, open_job_redis
from app.infrastructure.jobs.connection import JobPipeline
from app.infrastructure.jobs.payloads import decode, encode
from app.infrastructure.payloads import UnreadableJob, message
from tests.support.queues import Witness, on, queue_redis, quick, working
from tests.support.redis_plugin import OwnRedis
from tests.support.waiting import eventually

JOB = SendMail("password_changed", UserId(new_id()), to="ada@example.com")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(TrackedJob):
    """Write something to a file."""

    until: datetime | None = None


REPORT = Report(owner_id=new_id(), until=datetime(2026, 11, 21, tzinfo=UTC))
KINDS: dict[str, type[Job]] = {"SendMail": SendMail, "Report": Report}


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[JobStore]:
    async with open_job_redis(settings.redis, settings.jobs, guarded=True) as redis:
        yield JobStore(redis, settings.jobs)


class Hushed:
    """A server that counts its connections, and replies with an empty list until it freezes."""

    connections = 0
    frozen = False
    url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while data := await reader.read(4096):
            if not self.frozen:
                commands = data.count(b"\r\n*") + data.startswith(b"*")
                writer.write(b"*0\r\n" * commands)
        writer.close()


@pytest.fixture
async def hushed() -> AsyncIterator[Hushed]:
    server = Hushed()
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        host, port = listening.sockets[0].getsockname()
        server.url = f"redis://{host}:{port}/0"
        yield server


@pytest.fixture
def impatient(settings: Settings, hushed: Hushed) -> Settings:
    """A queue on the silent server, whose circuit opens after three failed calls."""
    redis = {"url": SecretStr(hushed.url), "breaker_failures": 3, "breaker_seconds": 300.0}
    return settings.model_copy(
        update={
            "redis": settings.redis.model_copy(update=redis),
            "jobs": settings.jobs.model_copy(update={"command_seconds": 0.1}),
        }
    )


@pytest.fixture
def server(own_redis: Callable[[], OwnRedis]) -> OwnRedis:
    """A Redis that the test can kill."""
    return own_redis()


@pytest.fixture
def own_settings(settings: Settings, server: OwnRedis) -> Settings:
    """A queue on that Redis."""
    return on(quick(settings), server)


class TestPayload:
    @pytest.mark.parametrize("job", [JOB, REPORT], ids=lambda job: type(job).__name__)
    def test_survives_serialization(self, job: Job) -> None:
        sent = message(job)
        read = decode(encode(sent), KINDS)
        assert (read.job, read.kind) == (job, type(job).__name__)
        assert encode(read) == encode(sent)
        assert abs(read.enqueued_at - sent.enqueued_at).total_seconds() < 0.001

    def test_is_refused_if_it_is_malformed_or_unknown(self) -> None:
        for data in (
            b"\x80\x04\x95 a pickle",
            b"{}",
            b'{"f":"Unknown","a":[],"k":{},"et":1}',
            b'{"f":"SendMail","a":[],"k":{"job":{"to":1}},"et":1}',
        ):
            with pytest.raises(UnreadableJob, match="unknown job"):
                decode(data, KINDS)


class TestRedisUnavailable:
    async def test_takes_no_job(self, own_settings: Settings, server: OwnRedis) -> None:
        server.kill()
        async with opened(own_settings) as store:
            with pytest.raises(QueueUnavailable) as raised:
                await store.submit(REPORT.id, message(REPORT))
        assert raised.value.context == {"reason": "ConnectionError"}

    async def test_reconnects_after_a_restart(
        self, own_settings: Settings, server: OwnRedis
    ) -> None:
        async with opened(own_settings) as store:
            await store.submit("1", message(JOB))
            server.kill()
            server.start()
            await store.submit("2", message(JOB))
            assert (await store.overview()).queued == 2


class TestRedisHangs:
    async def test_waits_without_retries_until_the_circuit_opens(
        self, impatient: Settings, hushed: Hushed
    ) -> None:
        async with opened(impatient) as store:
            assert await store.workers() == ()
            hushed.frozen = True
            reasons = []
            for _ in range(5):
                with pytest.raises(QueueUnavailable) as raised:
                    await store.find(REPORT.id)
                reasons.append(raised.value.context["reason"])
        assert reasons == ["TimeoutError"] * 3 + ["circuit open"] * 2
        assert hushed.connections == 3

    async def test_opens_no_connection_to_end_a_transaction(
        self, impatient: Settings, hushed: Hushed
    ) -> None:
        async def hang_half_done(pipe: JobPipeline) -> None:
            hushed.frozen = True
            await pipe.get("arq:name")

        async with queue_redis(impatient) as redis:
            with pytest.raises(QueueUnavailable):
                await redis.change(hang_half_done, "arq:name")
        assert hushed.connections == 1


async def test_health_needs_a_worker(settings: Settings) -> None:
    own = quick(settings)
    async with opened(own) as store:
        with pytest.raises(QueueUnavailable):
            await store.require_worker()

        async def run(_: Job) -> None: ...

        async with working(own, run, Witness()):

            async def lives() -> bool:
                return bool(await store.workers())

            await eventually(lives)
            await store.require_worker()
        with pytest.raises(QueueUnavailable):
            await store.require_worker()
