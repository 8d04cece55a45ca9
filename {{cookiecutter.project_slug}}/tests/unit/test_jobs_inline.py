"""Jobs in the process that asked for them (rules ASY04, APP07)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from app.config import Settings
from app.core.ports import Mail, Mailer, SendMail
from app.infrastructure.jobs.queue import JobQueue, open_jobs

MAIL = Mail(to="ada@example.com", subject="Hello", text="This is secret.")
JOB = SendMail(MAIL)


class HeldMailer:
    """Sends no mail before it may."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.may_end = asyncio.Event()
        self.sent: list[Mail] = []

    async def send(self, mail: Mail) -> None:
        self.started.set()
        await self.may_end.wait()
        self.sent.append(mail)


class BrokenMailer:
    async def send(self, mail: Mail) -> None:
        raise OSError(mail.to)


@asynccontextmanager
async def opened(mailer: Mailer, drain_seconds: float = 10) -> AsyncIterator[JobQueue]:
    settings = Settings.model_validate({"jobs": {"drain_seconds": drain_seconds}})
    async with open_jobs(settings, mailer) as queue:
        assert isinstance(queue.jobs, JobQueue)
        yield queue.jobs


class TestEnqueue:
    async def test_starts_a_job_and_does_not_wait_for_it(self) -> None:
        mailer = HeldMailer()
        async with opened(mailer) as jobs:
            await jobs.enqueue(JOB)
            await mailer.started.wait()
            assert mailer.sent == []
            mailer.may_end.set()
        assert mailer.sent == [MAIL]

    async def test_forgets_a_job_that_is_done(self) -> None:
        mailer = HeldMailer()
        mailer.may_end.set()
        async with opened(mailer) as jobs:
            await jobs.enqueue(JOB)
            await jobs.drain()
            assert vars(jobs)["_tasks"] == set()

    async def test_logs_a_job_that_fails_without_what_it_is_about(self) -> None:
        with capture_logs() as logs:
            async with opened(BrokenMailer()) as jobs:
                await jobs.enqueue(JOB)
        (line,) = logs
        assert (line["log_level"], line["event"]) == ("error", "job failed")
        assert line["job"] == "SendMail"
        assert MAIL.text not in str(line)

    async def test_goes_on_after_a_job_that_failed(self) -> None:
        with capture_logs() as logs:
            async with opened(BrokenMailer()) as jobs:
                await jobs.enqueue(JOB)
                await jobs.enqueue(JOB)
        assert len(logs) == 2


class TestClose:
    async def test_finishes_what_is_under_way(self) -> None:
        mailer = HeldMailer()
        async with opened(mailer) as jobs:
            await jobs.enqueue(JOB)
            await jobs.enqueue(JOB)
            asyncio.get_running_loop().call_soon(mailer.may_end.set)
        assert mailer.sent == [MAIL, MAIL]

    async def test_ends_what_takes_too_long(self) -> None:
        mailer = HeldMailer()
        async with opened(mailer, drain_seconds=0) as jobs:
            await jobs.enqueue(JOB)
            await mailer.started.wait()
            (task,) = vars(jobs)["_tasks"]
        assert task.cancelled()
        assert mailer.sent == []

    async def test_finishes_them_after_an_error_too(self) -> None:
        mailer = HeldMailer()
        mailer.may_end.set()
        with pytest.raises(RuntimeError):
            await self._stop_with_an_error(mailer)
        assert mailer.sent == [MAIL]

    async def test_has_nothing_to_do_without_jobs(self) -> None:
        async with opened(HeldMailer()) as jobs:
            await jobs.drain()
            assert vars(jobs)["_tasks"] == set()

    async def _stop_with_an_error(self, mailer: HeldMailer) -> None:
        async with opened(mailer) as jobs:
            await jobs.enqueue(JOB)
            raise RuntimeError
