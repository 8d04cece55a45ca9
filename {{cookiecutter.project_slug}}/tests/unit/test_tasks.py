"""Tasks of the worker, on the real database and file store."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from fastapi import FastAPI
from sqlalchemy import select
from structlog.testing import capture_logs

from app import models
from app.config import Settings
from app.core.clock import utc_now
from app.core.jobs import JobStatus, QueueUnavailable
from app.core.ports import Mail, SendMail
from app.domain.items import ItemFilter
from app.infrastructure.jobs import JobStore
from app.infrastructure.jobs.payloads import Message
from app.infrastructure.jobs.worker import Cron
from app.resources import Resources
from app.services.jobs import EXPORTS
from app.tasks import TASKS
from app.tasks.items import ExportItems
from app.tasks.maintenance import Prune, RemoveExports
from app.worker import SCHEDULE, open_worker
from tests.support.arrange import Arrange, Someone
from tests.support.factories import AuthSessionFactory
from tests.support.queues import Witness, queue_redis, quick
from tests.support.resources import replaced


@pytest.fixture
async def resources(
    arrange_async: Arrange, running_async: FastAPI, settings: Settings
) -> AsyncIterator[Resources]:
    """The resources of the application, with a queue of the test's own."""
    own = quick(settings)
    async with queue_redis(own) as redis:
        yield replaced(running_async.state.resources, job_store=JobStore(redis, own.jobs))


@pytest.fixture
async def ada(arrange_async: Arrange) -> Someone:
    return await arrange_async.someone()


@pytest.fixture
async def job(resources: Resources, ada: Someone) -> AsyncIterator[ExportItems]:
    export = ExportItems(owner_id=ada.id, wanted=ItemFilter(), format="csv")
    await resources.job_store.submit(export.id, Message(export), owner_id=ada.id)
    yield export
    await resources.storage.delete(export.key)


async def bytes_of(resources: Resources, key: str) -> bytes:
    async with resources.storage.open(key) as (_, chunks):
        return b"".join([chunk async for chunk in chunks])


async def keys(resources: Resources, job: ExportItems) -> list[str]:
    return [each.key async for each in resources.storage.list(job.key)]


async def status(resources: Resources, job: ExportItems) -> JobStatus:
    found = await resources.job_store.find(job.id)
    assert found is not None
    return found


class TestExportItems:
    async def test_replaces_the_file_of_an_earlier_try(
        self, resources: Resources, arrange_async: Arrange, ada: Someone, job: ExportItems
    ) -> None:
        await arrange_async.items(ada, 2)
        await resources.run(job)
        first = await bytes_of(resources, job.key)
        await resources.run(job)
        assert await bytes_of(resources, job.key) == first
        assert (await status(resources, job)).progress == 2
        stored = [each async for each in resources.storage.list(EXPORTS)]
        assert [each.key for each in stored if str(job.id) in each.key] == [job.key]

    async def test_does_not_need_its_progress_stored(
        self,
        resources: Resources,
        arrange_async: Arrange,
        ada: Someone,
        job: ExportItems,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        async def fail(*_: object) -> None:
            raise QueueUnavailable

        monkeypatch.setattr(JobStore, "set_progress", fail)
        await arrange_async.items(ada)
        await resources.run(job)
        assert await bytes_of(resources, job.key)


class TestRemoveExports:
    async def test_deletes_expired_files_only(
        self, resources: Resources, job: ExportItems, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await resources.run(job)
        await resources.run(RemoveExports())
        assert await keys(resources, job) == [job.key]

        jobs = resources.settings.jobs.model_copy(update={"result_seconds": -60})
        settings = resources.settings.model_copy(update={"jobs": jobs})
        with capture_logs() as lines:
            await replaced(resources, settings=settings).run(RemoveExports())
        assert await keys(resources, job) == []
        assert lines[0]["event"] == "exports removed"
        assert lines[0]["removed"] >= 1


class TestPrune:
    async def test_deletes_expired_rows(
        self, resources: Resources, arrange_async: Arrange, ada: Someone
    ) -> None:
        over = AuthSessionFactory.build(
            user_id=ada.id, scope="", expires_at=utc_now() - timedelta(seconds=1)
        )
        await arrange_async.store(over)
        with capture_logs() as lines:
            await resources.run(Prune())
        rows = await arrange_async.rows(select(models.AuthSession.id))
        assert [row.id for row in rows] == [ada.session_id]
        assert lines[-1]["report"]["sessions"] == 1


class TestSendMail:
    async def test_sends_it(self, resources: Resources) -> None:
        with capture_logs() as lines:
            await resources.run(SendMail(Mail("ada@example.com", "Hello", "This is secret.")))
        (line,) = lines
        assert (line["event"], line["to"]) == ("mail", "ada@example.com")
        assert "secret" not in str(line)


class TestRegistry:
    async def test_has_all_kinds_of_jobs(self, settings: Settings) -> None:
        async with open_worker(quick(settings), Witness()) as worker:
            assert set(worker._kinds.values()) == set(TASKS)
            assert {SendMail, ExportItems, Prune, RemoveExports} == set(TASKS)

    def test_schedules_maintenance(self) -> None:
        assert set(SCHEDULE) == {
            Cron(Prune, hour=3, minute=30),
            Cron(RemoveExports, hour=None, minute=17),
        }
