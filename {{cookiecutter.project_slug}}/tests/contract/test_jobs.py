"""What services may expect of whatever takes their jobs."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import pytest
from fastapi import FastAPI
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.testing import capture_logs

from app.config import Settings
from app.core.ports import Jobs, Mail, SendMail
from tests.support import queues

MAIL = Mail(to="ada@example.com", subject="Hello", text="This is secret.")
JOB = SendMail(MAIL)


class HeldMailer:
    """Sends no mail before it may, and none to those whom it does not like."""

    def __init__(self) -> None:
        self.sent: list[Mail] = []
        self.begun = asyncio.Event()
        self.may_send = asyncio.Event()

    async def send(self, mail: Mail) -> None:
        self.begun.set()
        await self.may_send.wait()
        if "nobody" in mail.to:
            raise OSError(mail.to)
        self.sent.append(mail)


class Queue:
    """What takes jobs, and what they use."""

    def __init__(self, jobs: Jobs, mailer: HeldMailer, done: Callable[[], Awaitable[None]]) -> None:
        self.jobs = jobs
        self.mailer = mailer
        self.done = done


@pytest.fixture
async def queue(settings: Settings) -> AsyncIterator[Queue]:
    mailer = HeldMailer()
    async with queues.opened(settings, mailer) as (jobs, done):
        yield Queue(jobs, mailer, done)
        mailer.may_send.set()


class TestEnqueue:
    async def test_has_a_job_done_once(self, queue: Queue) -> None:
        queue.mailer.may_send.set()
        await queue.jobs.enqueue(JOB)
        await queue.done()
        assert queue.mailer.sent == [MAIL]
        assert [mail.id for mail in queue.mailer.sent] == [MAIL.id]

    async def test_does_not_wait_for_it(self, queue: Queue) -> None:
        await queue.jobs.enqueue(JOB)
        await queue.mailer.begun.wait()
        assert queue.mailer.sent == []
        queue.mailer.may_send.set()
        await queue.done()
        assert queue.mailer.sent == [MAIL]

    async def test_does_several_at_once(self, queue: Queue) -> None:
        for _ in range(5):
            await queue.jobs.enqueue(JOB)
        await queue.mailer.begun.wait()
        queue.mailer.may_send.set()
        await queue.done()
        assert len(queue.mailer.sent) == 5

    async def test_tells_the_log_alone_of_a_job_that_fails(self, queue: Queue) -> None:
        queue.mailer.may_send.set()
        with capture_logs([merge_contextvars]) as lines:
            await queue.jobs.enqueue(SendMail(Mail("nobody@example.com", "Hello", MAIL.text)))
            await queue.done()
            await queue.jobs.enqueue(JOB)
            await queue.done()
        (failure,) = [line for line in lines if line["event"] == "job failed"]
        assert failure["log_level"] == "error"
        assert failure["job"] == "SendMail"
        assert MAIL.text not in str(lines)
        assert queue.mailer.sent == [MAIL]

    async def test_names_the_request_and_its_user_in_the_log_lines_of_a_job(
        self, queue: Queue
    ) -> None:
        queue.mailer.may_send.set()
        with capture_logs([merge_contextvars]) as lines:
            with bound_contextvars(request_id="request-1", user_id="user-1"):
                await queue.jobs.enqueue(SendMail(Mail("nobody@example.com", "Hello", "")))
            await queue.done()
        (failure,) = [line for line in lines if line["event"] == "job failed"]
        assert (failure["request_id"], failure["user_id"]) == ("request-1", "user-1")


class TestAfterCommit:
    async def test_does_what_was_asked_for_in_a_transaction_that_is_committed(
        self, queue: Queue, running_async: FastAPI
    ) -> None:
        queue.mailer.may_send.set()
        async with running_async.state.resources.database.transaction() as session:
            session.after_commit(partial(queue.jobs.enqueue, JOB))
            await queue.done()
            assert queue.mailer.sent == []
        await queue.done()
        assert queue.mailer.sent == [MAIL]

    async def test_drops_what_was_asked_for_in_one_that_is_rolled_back(
        self, queue: Queue, running_async: FastAPI
    ) -> None:
        queue.mailer.may_send.set()
        with pytest.raises(RuntimeError):
            await self._fail(queue, running_async)
        await queue.done()
        assert queue.mailer.sent == []

    async def _fail(self, queue: Queue, app: FastAPI) -> None:
        async with app.state.resources.database.transaction() as session:
            session.after_commit(partial(queue.jobs.enqueue, JOB))
            raise RuntimeError
