"""What a worker does by each kind of job, on the real database and the real file store."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from fastapi import FastAPI
from sqlalchemy import select
from structlog.testing import capture_logs

from app import models
from app.config import Settings
from app.core.clock import utc_now
from app.core.ids import new_id
from app.core.ports import Mail, SendMail
from app.domain.exports import EXPORTS, ExportItems, Prune, RemoveExports
from app.domain.items import ItemFilter
from app.domain.tracking import JobFile, JobId, QueueUnavailable
from app.resources import Resources
from app.worker.running import open_worker
from app.worker.tasks import ExportRemoval, ItemExport, worker_handlers
from tests.support.arrange import Arrange, Someone
from tests.support.factories import AuthSessionFactory
from tests.support.queues import Witness, quick


class Notes:
    """Keeps what jobs leave word of; may refuse to hear of progress."""

    def __init__(self, *, hears: bool = True) -> None:
        self.hears = hears
        self.done: list[int] = []
        self.files: list[JobFile] = []

    async def progress(self, job_id: JobId, done: int) -> None:
        if not self.hears:
            raise QueueUnavailable
        self.done.append(done)

    async def result(self, job_id: JobId, file: JobFile) -> None:
        self.files.append(file)


@pytest.fixture
def resources(arrange_async: Arrange, running_async: FastAPI) -> Resources:
    found: Resources = running_async.state.resources
    return found


@pytest.fixture
async def ada(arrange_async: Arrange) -> Someone:
    return await arrange_async.someone()


@pytest.fixture
async def job(resources: Resources, ada: Someone) -> AsyncIterator[ExportItems]:
    wanted = ExportItems(JobId(new_id()), ada.id, ItemFilter(), "csv")
    yield wanted
    await resources.storage.delete(wanted.key)


async def bytes_of(resources: Resources, key: str) -> bytes:
    async with resources.storage.open(key) as (_, chunks):
        return b"".join([chunk async for chunk in chunks])


class TestExportItems:
    async def test_has_its_effect_once_although_it_was_done_twice(
        self, resources: Resources, arrange_async: Arrange, ada: Someone, job: ExportItems
    ) -> None:
        await arrange_async.items(ada, 2)
        notes = Notes()
        handlers = worker_handlers(resources, notes)
        await handlers.handle(job)
        first = await bytes_of(resources, job.key)
        await handlers.handle(job)
        assert await bytes_of(resources, job.key) == first
        assert notes.files[0] == notes.files[1]
        assert notes.done == [2, 2]
        stored = [each async for each in resources.storage.list(EXPORTS)]
        assert [each.key for each in stored if str(job.job_id) in each.key] == [job.key]

    async def test_goes_on_if_nobody_hears_how_far_it_is(
        self, resources: Resources, arrange_async: Arrange, ada: Someone, job: ExportItems
    ) -> None:
        await arrange_async.items(ada)
        notes = Notes(hears=False)
        await ItemExport(resources.database, resources.storage, notes).write(job)
        assert notes.files[0].size == len(await bytes_of(resources, job.key))


class TestRemoveExports:
    async def test_deletes_files_whose_life_is_over_and_no_others(
        self, resources: Resources, job: ExportItems
    ) -> None:
        handlers = worker_handlers(resources, Notes())
        await handlers.handle(job)
        await handlers.handle(RemoveExports())
        assert [each.key async for each in resources.storage.list(job.key)] == [job.key]

        with capture_logs() as lines:
            await ExportRemoval(resources.storage, life_seconds=-60).remove(RemoveExports())
        assert [each async for each in resources.storage.list(job.key)] == []
        assert lines[0]["event"] == "exports removed"
        assert lines[0]["removed"] >= 1


class TestPrune:
    async def test_deletes_what_has_expired(
        self, resources: Resources, arrange_async: Arrange, ada: Someone
    ) -> None:
        over = AuthSessionFactory.build(
            user_id=ada.id, scope="", expires_at=utc_now() - timedelta(seconds=1)
        )
        await arrange_async.store(over)
        with capture_logs() as lines:
            await worker_handlers(resources, Notes()).handle(Prune())
        rows = await arrange_async.rows(select(models.AuthSession.id))
        assert [row.id for row in rows] == [ada.session_id]
        assert lines[-1]["report"]["sessions"] == 1


class TestSendMail:
    async def test_sends_it(self, resources: Resources) -> None:
        with capture_logs() as lines:
            job = SendMail(Mail("ada@example.com", "Hello", "This is secret."))
            await worker_handlers(resources, Notes()).handle(job)
        (line,) = lines
        assert (line["event"], line["to"]) == ("mail", "ada@example.com")
        assert "secret" not in str(line)


class TestOpenWorker:
    async def test_knows_all_kinds_of_jobs(self, settings: Settings) -> None:
        async with open_worker(quick(settings), Witness()) as worker:
            assert set(worker.functions) == {"Prune", "RemoveExports"}
            for kind in (SendMail, ExportItems, Prune, RemoveExports):
                assert kind in worker._handlers._by_kind
