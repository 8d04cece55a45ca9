"""Workers as processes, killed and stopped during a job."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta

import pytest
from structlog.contextvars import bound_contextvars

from app.config import Settings
from app.core.clock import utc_now
from app.core.ids import new_id
from app.domain.notifications import SendMail
from app.domain.users import UserId
from app.infrastructure.jobs import keys
from app.infrastructure.jobs.connection import JobRedis, open_job_redis
from app.infrastructure.jobs.store import JobStore
from app.infrastructure.payloads import message
from tests.support.mail import Delivery, SmtpServer
from tests.support.processes import environment_of
from tests.support.queues import quick
from tests.support.waiting import PATIENCE, eventually

MAIL = SendMail("password_changed", UserId(new_id()), to="ada@example.com")


class HeldMailServer(SmtpServer):
    """A mail server that blocks until released."""

    def __init__(self) -> None:
        super().__init__()
        self.offered: list[str] = []
        self.taken: list[str] = []
        self.may_take = asyncio.Event()

    async def take(self, delivery: Delivery, reader: asyncio.StreamReader) -> None:
        name = str(delivery.message["Message-ID"])
        self.offered.append(name)
        gone = asyncio.create_task(reader.read(1))
        may_take = asyncio.create_task(self.may_take.wait())
        done, _ = await asyncio.wait({gone, may_take}, return_when=asyncio.FIRST_COMPLETED)
        for task in (gone, may_take):
            task.cancel()
        if gone in done:
            raise ConnectionResetError
        self.taken.append(name)

    async def holds(self, count: int) -> None:
        """Wait until that many mails were offered."""

        async def held() -> bool:
            return len(self.offered) >= count

        await eventually(held)


class WorkerProcess:
    """`app worker run`, and its log."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self._reading = asyncio.create_task(self._read())

    async def says(self, words: str) -> None:
        async def said() -> bool:
            return any(words in line for line in self.lines)

        await eventually(said)

    async def end(self, number: signal.Signals) -> int:
        """Send a signal, wait for the process to end, and return its exit code."""
        self.process.send_signal(number)
        async with asyncio.timeout(PATIENCE):
            await self._reading
            return await self.process.wait()

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.lines.append(line.decode())


class Service:
    """A queue, a mail server, and workers."""

    def __init__(self, redis: JobRedis, mails: HeldMailServer, settings: Settings) -> None:
        self.redis = redis
        self.store = JobStore(redis, settings.jobs)
        self.mails = mails
        self.settings = settings

    async def ask(self) -> str:
        """Enqueue a mail, as a request would."""
        with bound_contextvars(request_id="request-1", user_id="user-1"):
            job_id = str(new_id())
            await self.store.submit(job_id, message(MAIL))
            return job_id

    async def is_done(self) -> None:
        async def empty() -> bool:
            overview = await self.store.overview()
            return overview.queued + overview.running + overview.delayed == 0

        await eventually(empty)


@pytest.fixture
async def service(
    make_settings: Callable[..., Settings], database_url: str
) -> AsyncIterator[Service]:
    mails = HeldMailServer()
    async with mails.listening():
        mail = {
            "backend": "smtp",
            "host": "127.0.0.1",
            "port": mails.port,
            "starttls": False,
            "sender": "service@example.com",
            "timeout": 120,  # a busy machine may take long to start a process meanwhile
        }
        own = quick(make_settings(database_url, mail=mail, logging={"format": "json"}))
        async with open_job_redis(own.redis, own.jobs) as redis:
            yield Service(redis, mails, own)
            mails.may_take.set()


@pytest.fixture
async def started(
    service: Service,
) -> AsyncIterator[Callable[[], asyncio.Future[WorkerProcess]]]:
    """Start workers for this test; kill those left at the end."""
    workers: list[WorkerProcess] = []

    async def start() -> WorkerProcess:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "app.cli", "worker", "run"),
            env=environment_of(service.settings),
            stdin=DEVNULL,
            stdout=PIPE,
        )
        workers.append(WorkerProcess(process))
        await workers[-1].says("worker started")
        return workers[-1]

    yield lambda: asyncio.ensure_future(start())
    for worker in workers:
        if worker.process.returncode is None:
            await worker.end(signal.SIGKILL)


class TestProcesses:
    async def test_hand_the_job_of_a_killed_worker_to_another_within_the_bound(
        self, service: Service, started: Callable[[], asyncio.Future[WorkerProcess]]
    ) -> None:
        first = await started()
        lease = keys.lease(await service.ask())
        await service.mails.holds(1)
        second = await started()  # while the first one lives, it gets nothing
        assert len(service.mails.offered) == 1

        assert await first.end(signal.SIGKILL) == -signal.SIGKILL
        killed_at = utc_now()
        left = timedelta(milliseconds=await service.redis.pttl(lease))
        # Redis ends its lease, without anybody's doing: that is the bound. How soon after that the
        # other one looks depends on the machine.
        assert timedelta(0) < left <= timedelta(seconds=service.settings.jobs.lease_seconds)
        await service.mails.holds(2)
        service.mails.may_take.set()
        await service.is_done()

        # Once, and under the name that the first one would have had.
        assert service.mails.taken == [service.mails.offered[0]]
        assert set(service.mails.offered) == set(service.mails.taken)
        (begin,) = [line for line in second.lines if '"job started"' in line]
        said = json.loads(begin)
        assert (said["request_id"], said["user_id"], said["tries"]) == ("request-1", "user-1", 2)
        assert datetime.fromisoformat(said["timestamp"]) >= killed_at + left
        assert str(MAIL.to) not in "".join(second.lines)

        # The other one is asked to stop in mid-job, and finishes it.
        service.mails.may_take.clear()
        await service.ask()
        await service.mails.holds(3)
        second.process.send_signal(signal.SIGTERM)
        await second.says("worker stopping")
        service.mails.may_take.set()
        assert await second.end(signal.SIGTERM) == 0
        await service.is_done()
        assert len(service.mails.taken) == 2
        assert await service.store.workers() == ()
