"""Exports of items as jobs: the operation and its task."""

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from sqlalchemy import select
from starlette.testclient import TestClient
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from app import models
from app.config import Settings
from app.core.errors import DatabaseUnavailable
from app.core.ids import new_id
from app.core.jobs import QueueUnavailable
from app.domain.items import ItemFilter
from app.infrastructure.idempotency import IdempotencyKeys
from app.infrastructure.jobs import JobStore
from app.main import create_app
from app.resources import Resources
from app.services.jobs import EXPORTS
from app.tasks.items import ExportItems
from tests.conftest import async_client_of
from tests.support.arrange import Account, Arrange, ArrangeSync, Jobs
from tests.support.items import store_items
from tests.support.queues import Witness, on, open_store, quick, submitted, workers, working
from tests.support.redis_plugin import OwnRedis
from tests.support.waiting import eventually

JOBS = "/api/v1/jobs"
EXPORT = f"{JOBS}/items-export"
NOON = datetime(2025, 11, 21, 12, tzinfo=UTC)
EARLY = {"created_before": "2025-11-22T00:00:00Z"}

Json = dict[str, Any]
Work = Callable[[Json], Json]


@pytest.fixture
def own(settings: Settings) -> Settings:
    return quick(settings, max_tries=1)


@pytest.fixture
def queue(client: TestClient, use: Callable[..., None], own: Settings) -> Iterator[JobStore]:
    """A queue of the test's own, used by the application."""
    with open_store(client, own) as store:
        use(job_store=store)
        yield store


@pytest.fixture
def work(client: TestClient, app: FastAPI, queue: JobStore, own: Settings, ada: Account) -> Work:
    """Run a worker until a job has ended; return the job."""

    async def run(job_id: UUID) -> None:
        resources: Resources = app.state.resources

        async def is_done() -> bool:
            job = await queue.find(job_id)
            assert job is not None
            return job.state == "done"

        await submitted(resources.database, queue)
        async with working(own, resources.run, Witness()):
            await eventually(is_done)

    def do(job: Json) -> Json:
        assert client.portal is not None
        client.portal.call(run, UUID(job["id"]))
        done: Json = client.get(f"{JOBS}/{job['id']}", headers=ada.headers).json()
        return done

    return do


def start(client: TestClient, account: Account, **body: Any) -> Json:
    response = client.post(EXPORT, headers=account.headers, json=body)
    assert response.status_code == 202, response.text
    job: Json = response.json()
    return job


def status_and_code(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


@pytest.mark.usefixtures("queue")
class TestStartExport:
    def test_returns_the_path_of_the_job(self, client: TestClient, ada: Account) -> None:
        response = client.post(EXPORT, headers=ada.headers, json={})
        job = response.json()
        assert response.status_code == 202
        assert response.headers["Location"] == f"{JOBS}/{job['id']}"
        assert (job["kind"], job["state"]) == ("ExportItems", "queued")
        assert client.get(response.headers["Location"], headers=ada.headers).json() == job

    def test_returns_the_unfinished_export_of_the_same_items(
        self, client: TestClient, arrange: ArrangeSync, ada: Account
    ) -> None:
        early = {"filter": EARLY}
        first = start(client, ada, **early)
        assert start(client, ada, **early)["id"] == first["id"]
        assert start(client, ada, **early, format="ndjson")["id"] != first["id"]
        assert start(client, ada)["id"] != first["id"]
        assert start(client, arrange.account(), **early)["id"] != first["id"]

    def test_is_carried_out_once_for_an_idempotency_key(
        self, client: TestClient, ada: Account, work: Work
    ) -> None:
        headers = {**ada.headers, "Idempotency-Key": new_id().hex}
        first = client.post(EXPORT, headers=headers, json={})
        work(first.json())
        again = client.post(EXPORT, headers=headers, json={})
        assert again.json() == first.json()
        assert again.headers["Location"] == first.headers["Location"]

    def test_refuses_unknown_formats_and_filters(self, client: TestClient, ada: Account) -> None:
        for body in (
            {"format": "pdf"},
            {"filter": {"colour": "red"}},
            {"filter": {"created_from": 0}},
            {"more": 1},
        ):
            assert client.post(EXPORT, headers=ada.headers, json=body).status_code == 422

    def test_waits_while_redis_is_down(
        self,
        client: TestClient,
        ada: Account,
        own: Settings,
        own_redis: Callable[[], OwnRedis],
        use: Callable[..., None],
        queue: JobStore,
        work: Work,
    ) -> None:
        server = own_redis()
        with open_store(client, on(own, server)) as store:
            use(job_store=store)
            server.kill()
            job, cancelled = start(client, ada), start(client, ada, format="ndjson")
            assert start(client, ada) == job
            path = f"{JOBS}/{job['id']}"
            assert client.get(path, headers=ada.headers).json() == job
            path = f"{JOBS}/{cancelled['id']}"
            assert client.delete(path, headers=ada.headers).status_code == 204
            assert client.get(path, headers=ada.headers).json()["state"] == "cancelled"
        use(job_store=queue)
        assert work(job)["state"] == "done"
        assert client.get(path, headers=ada.headers).json()["state"] == "cancelled"

    async def test_is_done_when_redis_is_back(
        self,
        make_settings: Callable[..., Settings],
        own_database_url: str,
        own_redis: Callable[[], OwnRedis],
        password_hash: str,
    ) -> None:
        server = own_redis()
        app = create_app(on(quick(make_settings(own_database_url)), server))
        async with app.router.lifespan_context(app), async_client_of(app) as client:
            resources: Resources = app.state.resources
            ada = await Arrange(lambda: resources, password_hash).account()
            server.kill()
            response = await client.post(EXPORT, headers=ada.headers, json={})
            assert response.status_code == 202
            server.start()

            async def is_done() -> bool:
                await resources.relay.wake()
                job = await client.get(response.headers["Location"], headers=ada.headers)
                return bool(job.json().get("state") == "done")

            async with workers(resources):
                await eventually(is_done)

    def test_leaves_no_job_when_it_fails(
        self,
        client: TestClient,
        arrange: ArrangeSync,
        ada: Account,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        async def fail(*_: object) -> None:
            raise DatabaseUnavailable

        monkeypatch.setattr(IdempotencyKeys, "keep", fail)
        headers = {**ada.headers, "Idempotency-Key": new_id().hex}
        response = client.post(EXPORT, headers=headers, json={})
        assert status_and_code(response) == (503, "database_unavailable")
        assert arrange.rows(select(models.OutboxMessage.id)) == []
        monkeypatch.undo()
        assert client.post(EXPORT, headers=headers, json={}).status_code == 202
        assert len(arrange.rows(select(models.OutboxMessage.id))) == 1

    def test_logs_the_request_id_with_the_job(
        self, client: TestClient, ada: Account, work: Work
    ) -> None:
        headers = {**ada.headers, "X-Request-ID": "request-1"}
        with capture_logs([merge_contextvars]) as lines:
            job = client.post(EXPORT, headers=headers, json={}).json()
            work(job)
        of_job = [line for line in lines if line.get("job_id") == job["id"]]
        assert [line["event"] for line in of_job] == ["job started", "job ended"]
        for line in of_job:
            assert (line["request_id"], line["user_id"]) == ("request-1", str(ada.id))


class TestExport:
    @pytest.mark.parametrize("chosen", ["csv", "ndjson"])
    def test_writes_the_file_that_the_request_would_return(
        self, client: TestClient, arrange: ArrangeSync, ada: Account, work: Work, chosen: str
    ) -> None:
        store_items(arrange, ada, 2, created_at=NOON)
        store_items(arrange, ada)
        store_items(arrange, arrange.account(), created_at=NOON)
        job = work(start(client, ada, format=chosen, filter=EARLY))

        as_it_is = {**ada.headers, "Accept-Encoding": "identity"}
        response = client.get(job["result"]["href"], headers=as_it_is)

        parameters = {"format": chosen, **EARLY}
        at_once = client.get("/api/v1/items/export", headers=ada.headers, params=parameters)
        assert response.status_code == 200
        assert response.content == at_once.content
        for header in ("Content-Type", "Content-Disposition"):
            assert response.headers[header] == at_once.headers[header]
        assert job["progress"] == 2
        assert job["result"]["sha256"] == hashlib.sha256(response.content).hexdigest()

    def test_leaves_nothing_of_a_deleted_account(
        self, client: TestClient, app: FastAPI, ada: Account, work: Work, jobs: Jobs
    ) -> None:
        resources = app.state.resources
        late = ExportItems(owner_id=ada.id, wanted=ItemFilter(), format="csv")

        async def stored() -> list[str]:
            return [each.key async for each in resources.storage.list(f"{EXPORTS}{ada.id}/")]

        assert client.portal is not None
        done = UUID(work(start(client, ada))["id"])
        assert len(client.portal.call(stored)) == 1
        assert client.delete("/api/v1/users/me", headers=ada.headers).status_code == 204
        for job in jobs():
            client.portal.call(resources.run, job)
        assert client.portal.call(stored) == []
        assert client.portal.call(resources.job_store.find, done) is None
        client.portal.call(resources.run, late)
        assert client.portal.call(stored) == []

    def test_keeps_as_many_files_as_jobs_are_allowed(
        self, client: TestClient, app: FastAPI, ada: Account
    ) -> None:
        resources = app.state.resources
        most = resources.settings.jobs.unfinished_per_user
        exports = [
            ExportItems(owner_id=ada.id, wanted=ItemFilter(), format="csv") for _ in range(most + 1)
        ]

        async def stored() -> list[str]:
            return [each.key async for each in resources.storage.list(f"{EXPORTS}{ada.id}/")]

        assert client.portal is not None
        for export in exports:
            client.portal.call(resources.run, export)
        assert client.portal.call(stored) == [export.key for export in exports[1:]]

    def test_does_not_need_its_progress_stored(
        self,
        client: TestClient,
        ada: Account,
        work: Work,
        monkeypatch: pytest.MonkeyPatch,
        arrange: ArrangeSync,
    ) -> None:
        async def fail(*_: object) -> None:
            raise QueueUnavailable

        store_items(arrange, ada)
        monkeypatch.setattr(JobStore, "set_progress", fail)
        job = work(start(client, ada))
        assert (job["state"], job["progress"]) == ("done", 0)
        assert job["result"]["size"] > 0
