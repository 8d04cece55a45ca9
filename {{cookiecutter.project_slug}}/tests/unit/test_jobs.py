"""Jobs that leave for Redis, and wait in memory while it is away."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from app.config import Settings
from app.core.ids import new_id
from app.core.ports import Job, Mail, SendMail
from app.domain.exports import ExportItems, Prune
from app.domain.items import ItemFilter
from app.domain.tracking import JobId, QueueUnavailable
from app.domain.users import UserId
from app.infrastructure.jobs.connection import JobRedis, open_job_redis
from app.infrastructure.jobs.payloads import Packed, UnreadableJob, from_bytes, packed, to_bytes
from app.infrastructure.jobs.queue import JobQueue, open_jobs
from app.infrastructure.jobs.store import JobStore
from app.services.handlers import Handlers
from tests.support.queues import Witness, on, quick, working
from tests.support.redis_plugin import OwnRedis
from tests.support.waiting import eventually

JOB = SendMail(Mail(to="ada@example.com", subject="Hello", text="This is secret."))
EXPORT = ExportItems(
    job_id=JobId(new_id()),
    owner_id=UserId(new_id()),
    wanted=ItemFilter(status="active", search="x"),
    format="csv",
)


class NoMailer:
    """Workers send mails; whoever asks for them does not."""

    async def send(self, mail: Mail) -> None:
        raise AssertionError(mail)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[JobQueue]:
    async with open_jobs(settings, NoMailer()) as queue:
        assert isinstance(queue.jobs, JobQueue)
        queue.jobs.seconds_to_next_try = 0.01
        yield queue.jobs


class Hushed:
    """A server that counts its connections; it answers by an empty list until it freezes."""

    def __init__(self) -> None:
        self.connections = 0
        self.frozen = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while data := await reader.read(4096):
            if not self.frozen:
                commands = data.count(b"\r\n*") + data.startswith(b"*")
                writer.write(b"*0\r\n" * commands)
        writer.close()


@pytest.fixture
async def hushed() -> AsyncIterator[tuple[Hushed, str]]:
    """Such a server, and its address."""
    server = Hushed()
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        host, port = listening.sockets[0].getsockname()
        yield server, f"redis://{host}:{port}/0"


@pytest.fixture
def impatient(settings: Settings, hushed: tuple[Hushed, str]) -> Settings:
    """A queue on that, which is left alone after three calls in vain."""
    redis = {"url": SecretStr(hushed[1]), "breaker_failures": 3, "breaker_seconds": 300.0}
    return settings.model_copy(
        update={
            "redis": settings.redis.model_copy(update=redis),
            "jobs": settings.jobs.model_copy(update={"command_seconds": 0.1}),
        }
    )


@pytest.fixture
def server(own_redis: Callable[[], OwnRedis]) -> OwnRedis:
    """A Redis that the test may kill."""
    return own_redis()


@pytest.fixture
def own_settings(settings: Settings, server: OwnRedis) -> Settings:
    """A queue on that."""
    own = quick(settings, drain_seconds=0.05, backlog=3)
    return on(own, server)


class TestPayload:
    @pytest.mark.parametrize("job", [JOB, EXPORT, Prune()], ids=lambda job: type(job).__name__)
    def test_is_read_as_it_was_written(self, job: Job) -> None:
        package = packed(job)
        read = from_bytes(to_bytes(package))
        assert read.job == job
        assert read.kind == type(job).__name__
        assert abs(read.asked_at - package.asked_at).total_seconds() < 0.001

    def test_keeps_the_id_of_a_mail(self) -> None:
        read = from_bytes(to_bytes(Packed(JOB))).job
        assert isinstance(read, SendMail)
        assert read.mail.id == JOB.mail.id

    @pytest.mark.parametrize(
        "data",
        [
            b"\x80\x04\x95 a pickle",
            b"{}",
            b'{"f":"Unknown","a":[],"k":{},"et":1}',
            b'{"f":"SendMail","a":[],"k":{"job":{"mail":{"to":1}}},"et":1}',
        ],
    )
    def test_is_refused_if_it_is_none(self, data: bytes) -> None:
        with pytest.raises(UnreadableJob, match="not a job that we know"):
            from_bytes(data)


class TestWhileRedisIsAway:
    async def test_keeps_jobs_and_hands_them_over_in_order_when_it_is_back(
        self, own_settings: Settings, server: OwnRedis
    ) -> None:
        async with opened(own_settings) as jobs:
            server.kill()
            with capture_logs() as lines:
                for subject in ("first", "second"):
                    await jobs.enqueue(SendMail(Mail("ada@example.com", subject, "secret")))
            assert [line["event"] for line in lines] == ["job kept"]
            assert "secret" not in str(lines)
            server.start()

            async def both_are_queued() -> bool:
                return (await jobs.store.overview()).queued == 2

            await eventually(both_are_queued)
        sent: list[str] = []
        handlers, witness = Handlers(), Witness()

        async def send(job: SendMail) -> None:
            sent.append(job.mail.subject)

        handlers.add(SendMail, send)
        async with working(own_settings, handlers, witness):
            await witness.until(lambda seen: len(seen.ends) == 2)
        assert sent == ["first", "second"]

    async def test_loses_and_tells_what_is_more_than_it_may_keep_or_left_in_the_end(
        self, own_settings: Settings, server: OwnRedis
    ) -> None:
        server.kill()
        with capture_logs() as lines:
            async with opened(own_settings) as jobs:
                for _ in range(5):
                    await jobs.enqueue(JOB)
                assert [line["event"] for line in lines].count("job lost") == 2
        assert [line["event"] for line in lines].count("job lost") == 5

    async def test_does_not_take_a_job_that_somebody_waits_for(
        self, own_settings: Settings, server: OwnRedis
    ) -> None:
        server.kill()
        async with opened(own_settings) as jobs:
            with pytest.raises(QueueUnavailable) as raised:
                await jobs.submit(EXPORT.job_id, EXPORT, owner_id=EXPORT.owner_id, unique="x")
        assert raised.value.context == {"reason": "ConnectionError"}

    async def test_goes_on_with_connections_from_before_a_restart(
        self, own_settings: Settings, server: OwnRedis
    ) -> None:
        async with opened(own_settings) as jobs:
            await jobs.enqueue(JOB)
            server.kill()
            server.start()
            await jobs.enqueue(JOB)
            assert (await jobs.store.overview()).queued == 2


class TestWhileRedisHangs:
    async def test_waits_once_and_tries_nothing_on_top(
        self, impatient: Settings, hushed: tuple[Hushed, str]
    ) -> None:
        server, _ = hushed
        async with opened(impatient) as jobs:
            assert await jobs.store.workers() == ()
            server.frozen = True
            with pytest.raises(QueueUnavailable) as raised:
                await jobs.store.workers()
        assert raised.value.context == {"reason": "TimeoutError"}
        assert server.connections == 1

    async def test_leaves_it_alone_after_some_calls_in_vain(
        self, impatient: Settings, hushed: tuple[Hushed, str]
    ) -> None:
        server, _ = hushed
        server.frozen = True
        async with opened(impatient) as jobs:
            reasons = []
            for _ in range(5):
                with pytest.raises(QueueUnavailable) as raised:
                    await jobs.find(EXPORT.job_id)
                reasons.append(raised.value.context["reason"])
        assert reasons == ["TimeoutError"] * 3 + ["circuit open"] * 2
        assert server.connections == 3

    async def test_does_not_connect_to_end_what_hangs_half_done(
        self, impatient: Settings, hushed: tuple[Hushed, str]
    ) -> None:
        server, _ = hushed

        async def hang_half_done(redis: JobRedis) -> None:
            async with redis.in_time(), redis.pipeline() as pipe:
                await pipe.watch("arq:name")
                server.frozen = True
                await pipe.get("arq:name")

        async with open_job_redis(impatient) as redis:
            with pytest.raises(QueueUnavailable):
                await hang_half_done(redis)
        assert server.connections == 1


class TestSubmit:
    async def test_gives_a_job_the_id_that_it_knows_itself_by(self, settings: Settings) -> None:
        async with opened(quick(settings)) as jobs:
            job_id = JobId(new_id())
            taken = await jobs.submit(job_id, EXPORT, owner_id=EXPORT.owner_id, unique="x")
            assert taken == job_id
            assert isinstance(taken, UUID)
            assert taken.version == 7


class TestHealth:
    async def test_wants_a_worker(self, settings: Settings) -> None:
        own = quick(settings)
        async with open_jobs(own, NoMailer()) as queue:
            (check,) = queue.health_checks
            assert (check.name, check.required) == ("workers", False)
            with pytest.raises(QueueUnavailable):
                await check.check()
            jobs = queue.jobs
            assert isinstance(jobs, JobQueue)
            store: JobStore = jobs.store
            async with working(own, Handlers(), Witness()):

                async def lives() -> bool:
                    return bool(await store.workers())

                await eventually(lives)
                await check.check()
            with pytest.raises(QueueUnavailable):
                await check.check()
