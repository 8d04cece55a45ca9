"""Contract of the job queues."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import pytest
from fastapi import FastAPI
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.testing import capture_logs

from app.config import Settings
from app.core.ports import Job, Jobs, Mail, SendMail
from tests.support import queues

JOB = SendMail(Mail(to="ada@example.com", subject="Hello", text="This is secret."))
BROKEN = SendMail(Mail(to="nobody@example.com", subject="Hello", text="This is secret."))


class Queue:
    """A queue, and work that waits until it may end."""

    jobs: Jobs
    finished: Callable[[], Awaitable[None]]

    def __init__(self) -> None:
        self.done: list[Job] = []
        self.started = asyncio.Event()
        self.may_end = asyncio.Event()

    async def work(self, job: Job) -> None:
        self.started.set()
        await self.may_end.wait()
        if job == BROKEN:
            raise OSError
        self.done.append(job)


@pytest.fixture
async def queue(settings: Settings) -> AsyncIterator[Queue]:
    queue = Queue()
    async with queues.opened(settings, queue.work) as (queue.jobs, queue.finished):
        yield queue
        queue.may_end.set()


class TestEnqueue:
    async def test_runs_jobs_in_the_background(self, queue: Queue) -> None:
        for _ in range(5):
            await queue.jobs.enqueue(JOB)
        await queue.started.wait()
        assert queue.done == []
        queue.may_end.set()
        await queue.finished()
        assert queue.done == [JOB] * 5

    async def test_logs_a_failed_job_without_its_arguments_and_goes_on(self, queue: Queue) -> None:
        queue.may_end.set()
        with capture_logs([merge_contextvars]) as lines:
            with bound_contextvars(request_id="request-1", user_id="user-1"):
                await queue.jobs.enqueue(BROKEN)
            await queue.finished()
        await queue.jobs.enqueue(JOB)
        await queue.finished()
        (failure,) = [line for line in lines if line["event"] == "job failed"]
        assert (failure["log_level"], failure["job"]) == ("error", "SendMail")
        assert (failure["request_id"], failure["user_id"]) == ("request-1", "user-1")
        assert "secret" not in str(lines)
        assert queue.done == [JOB]


class TestAfterCommit:
    async def test_runs_jobs_of_a_committed_transaction(
        self, queue: Queue, running_async: FastAPI
    ) -> None:
        queue.may_end.set()
        async with running_async.state.resources.database.transaction() as session:
            session.after_commit(partial(queue.jobs.enqueue, JOB))
            await queue.finished()
            assert queue.done == []
        await queue.finished()
        assert queue.done == [JOB]

    async def test_drops_jobs_of_a_transaction_that_is_rolled_back(
        self, queue: Queue, running_async: FastAPI
    ) -> None:
        async def fail() -> None:
            async with running_async.state.resources.database.transaction() as session:
                session.after_commit(partial(queue.jobs.enqueue, JOB))
                raise RuntimeError

        queue.may_end.set()
        with pytest.raises(RuntimeError):
            await fail()
        await queue.finished()
        assert queue.done == []
