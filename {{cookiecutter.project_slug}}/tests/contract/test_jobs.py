"""Contract of the jobs: from the transaction to the task."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.testing import capture_logs

from app.config import Settings
from app.core.ids import new_id
from app.core.ports import Job
from app.domain.notifications import SendMail
from app.domain.users import UserId
from app.infrastructure.database import Database
from app.infrastructure.outbox import Outbox, Relay
from tests.support import queues
from tests.support.waiting import eventually

JOB = SendMail("password_changed", UserId(new_id()), to="ada@example.com")
BROKEN = SendMail("password_changed", UserId(new_id()), to="nobody@example.com")


class Queue:
    """A queue, and work that waits until it may end."""

    relay: Relay

    def __init__(self, database: Database) -> None:
        self.database = database
        self.done: list[Job] = []
        self.started = asyncio.Event()
        self.may_end = asyncio.Event()

    async def enqueue(self, job: Job) -> None:
        async with self.database.transaction() as session:
            await Outbox(session, self.relay.wake).enqueue(job)

    async def work(self, job: Job) -> None:
        self.started.set()
        await self.may_end.wait()
        if job == BROKEN:
            raise OSError
        self.done.append(job)

    async def has_done(self, count: int) -> None:
        async def done() -> bool:
            return len(self.done) >= count

        await eventually(done)


@pytest.fixture
async def queue(
    make_settings: Callable[..., Settings], own_database_url: str
) -> AsyncIterator[Queue]:
    settings = make_settings(own_database_url)
    async with Database.open(settings.database, pool_size=5) as database:
        queue = Queue(database)
        async with queues.opened(settings, database, queue.work) as queue.relay:
            yield queue
            queue.may_end.set()


class TestEnqueue:
    async def test_runs_jobs_in_the_background(self, queue: Queue) -> None:
        for _ in range(5):
            await queue.enqueue(JOB)
        await queue.started.wait()
        assert queue.done == []
        queue.may_end.set()
        await queue.has_done(5)
        assert queue.done == [JOB] * 5

    async def test_logs_a_failed_job_without_its_arguments_and_goes_on(self, queue: Queue) -> None:
        queue.may_end.set()
        with capture_logs([merge_contextvars]) as lines:
            with bound_contextvars(request_id="request-1", user_id="user-1"):
                await queue.enqueue(BROKEN)

            async def has_failed() -> bool:
                return any(line["event"] == "job failed" for line in lines)

            await eventually(has_failed)
        await queue.enqueue(JOB)
        await queue.has_done(1)
        (failure,) = [line for line in lines if line["event"] == "job failed"]
        assert (failure["log_level"], failure["job"]) == ("error", "SendMail")
        assert (failure["request_id"], failure["user_id"]) == ("request-1", "user-1")
        assert "nobody" not in str(lines)
        assert queue.done == [JOB]
