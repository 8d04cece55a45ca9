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
from app.core.ids import new_id
from app.domain.notifications import SendMail
from app.infrastructure.jobs import JobStore
from app.infrastructure.jobs.worker import Cron
from app.resources import Resources
from app.services.jobs import EXPORTS
from app.tasks import TASKS
from app.tasks.maintenance import Prune, RemoveExports
from app.worker import SCHEDULE, open_worker
from tests.support.arrange import Account, Arrange
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
async def ada(arrange_async: Arrange) -> Account:
    return await arrange_async.account()


class TestRemoveExports:
    async def test_deletes_expired_files_only(self, resources: Resources) -> None:
        async def content() -> AsyncIterator[bytes]:
            yield b"Note G"

        key = f"{EXPORTS}{new_id()}.txt"

        async def is_stored() -> bool:
            return [each.key async for each in resources.storage.list(key)] == [key]

        await resources.storage.put(key, content(), media_type="text/plain")
        await resources.run(RemoveExports())
        assert await is_stored()

        jobs = resources.settings.jobs.model_copy(update={"result_seconds": -60})
        settings = resources.settings.model_copy(update={"jobs": jobs})
        with capture_logs() as lines:
            await replaced(resources, settings=settings).run(RemoveExports())
        assert not await is_stored()
        assert lines[0]["event"] == "exports removed"
        assert lines[0]["removed"] >= 1


class TestPrune:
    async def test_deletes_expired_rows(
        self, resources: Resources, arrange_async: Arrange, ada: Account
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


class TestRegistry:
    async def test_has_all_kinds_of_jobs(self, settings: Settings) -> None:
        async with open_worker(quick(settings), Witness()) as worker:
            assert set(worker._kinds.values()) == set(TASKS)
            assert {SendMail, Prune, RemoveExports} <= set(TASKS)

    def test_schedules_maintenance(self) -> None:
        assert set(SCHEDULE) == {
            Cron(Prune, hour=3, minute=30),
            Cron(RemoveExports, hour=None, minute=17),
        }
