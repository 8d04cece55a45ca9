"""Jobs over HTTP: started, followed, cancelled, and what they have made."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from app.config import Settings
from app.core.ids import new_id
from app.core.ports import Job
from app.infrastructure.jobs import JobStore, open_job_redis
from app.resources import Resources
from app.services.jobs import EXPORTS
from tests.support.arrange import ArrangeSync, Someone
from tests.support.queues import Run, Witness, on, quick, working
from tests.support.redis_plugin import OwnRedis
from tests.support.waiting import eventually

JOBS = "/api/v1/jobs"
EXPORT = f"{JOBS}/items-export"
OVER = {"done", "failed", "cancelled"}

Json = dict[str, Any]
Work = Callable[..., None]


@pytest.fixture
def ada(arrange: ArrangeSync) -> Someone:
    return arrange.someone()


@pytest.fixture
def own(settings: Settings) -> Settings:
    return quick(settings, max_tries=1)


@pytest.fixture
def queue(client: TestClient, use: Callable[..., None], own: Settings) -> Iterator[JobStore]:
    """A queue of the test's own, used by the application."""
    with opened(client, own) as store:
        use(job_store=store)
        yield store


@contextmanager
def opened(client: TestClient, settings: Settings) -> Iterator[JobStore]:
    assert client.portal is not None
    opening = open_job_redis(settings.redis, settings.jobs, guarded=True)
    with client.portal.wrap_async_context_manager(opening) as redis:
        yield JobStore(redis, settings.jobs)


@pytest.fixture
def work(client: TestClient, app: FastAPI, queue: JobStore, own: Settings) -> Work:
    """Run a worker until a job has ended."""

    async def run(job_id: UUID, does: Run | None) -> None:
        resources: Resources = app.state.resources

        async def is_over() -> bool:
            job = await queue.find(job_id)
            assert job is not None
            return job.state in OVER

        async with working(own, does or resources.run, Witness()):
            await eventually(is_over)

    def do(job: Json, does: Run | None = None) -> None:
        assert client.portal is not None
        client.portal.call(run, UUID(job["id"]), does)

    return do


def start(client: TestClient, someone: Someone, **body: Any) -> Json:
    response = client.post(EXPORT, headers=someone.headers, json=body)
    assert response.status_code == 202, response.text
    job: Json = response.json()
    return job


def read(client: TestClient, someone: Someone, job: Json) -> Json:
    response = client.get(f"{JOBS}/{job['id']}", headers=someone.headers)
    assert response.status_code == 200, response.text
    answer: Json = response.json()
    return answer


def status_and_code(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


@pytest.mark.usefixtures("queue")
class TestStartExport:
    def test_returns_the_location_of_the_job(self, client: TestClient, ada: Someone) -> None:
        response = client.post(EXPORT, headers=ada.headers, json={})
        job = response.json()
        assert response.status_code == 202
        assert response.headers["Location"] == f"{JOBS}/{job['id']}"
        assert (job["kind"], job["state"], job["progress"]) == ("ExportItems", "queued", 0)
        assert (job["started_at"], job["finished_at"], job["result"]) == (None, None, None)
        assert UUID(job["id"]).version == 7
        assert read(client, ada, job) == job

    def test_returns_the_unfinished_job_of_the_same_items(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone
    ) -> None:
        active = {"filter": {"status": "active"}}
        first = start(client, ada, **active)
        assert start(client, ada, **active)["id"] == first["id"]
        assert start(client, ada, **active, format="ndjson")["id"] != first["id"]
        assert start(client, ada)["id"] != first["id"]
        assert start(client, arrange.someone(), **active)["id"] != first["id"]

    def test_runs_once_per_idempotency_key(
        self, client: TestClient, ada: Someone, work: Work
    ) -> None:
        headers = {**ada.headers, "Idempotency-Key": new_id().hex}
        first = client.post(EXPORT, headers=headers, json={})
        work(first.json())
        again = client.post(EXPORT, headers=headers, json={})
        assert again.json() == first.json()
        assert again.headers["Location"] == first.headers["Location"]

    def test_limits_the_unfinished_jobs_of_a_user(
        self, client: TestClient, ada: Someone, own: Settings
    ) -> None:
        some = own.jobs.unfinished_per_user
        jobs = [start(client, ada, filter={"q": f"word {number}"}) for number in range(some)]
        response = client.post(EXPORT, headers=ada.headers, json={})
        assert status_and_code(response) == (409, "too_many_jobs")
        client.delete(f"{JOBS}/{jobs[0]['id']}", headers=ada.headers)
        start(client, ada)

    def test_is_unavailable_without_redis(
        self,
        client: TestClient,
        ada: Someone,
        own: Settings,
        own_redis: Callable[[], OwnRedis],
        use: Callable[..., None],
    ) -> None:
        server = own_redis()
        with opened(client, on(own, server)) as store:
            use(job_store=store)
            job = start(client, ada)
            server.kill()
            for response in (
                client.post(EXPORT, headers=ada.headers, json={}),
                client.get(f"{JOBS}/{job['id']}", headers=ada.headers),
                client.delete(f"{JOBS}/{job['id']}", headers=ada.headers),
            ):
                assert status_and_code(response) == (503, "queue_unavailable")
                assert int(response.headers["Retry-After"]) > 0


class TestReadJob:
    def test_is_hidden_from_others(
        self, client: TestClient, arrange: ArrangeSync, queue: JobStore, ada: Someone
    ) -> None:
        job, other = start(client, ada), arrange.someone()
        for method, path in (
            ("GET", f"{JOBS}/{job['id']}"),
            ("DELETE", f"{JOBS}/{job['id']}"),
            ("GET", f"{JOBS}/{job['id']}/result"),
        ):
            response = client.request(method, path, headers=other.headers)
            assert status_and_code(response) == (404, "job_not_found")
        assert read(client, ada, job)["state"] == "queued"

    def test_returns_the_result_of_a_finished_job(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone, work: Work
    ) -> None:
        arrange.items(ada, 3)
        job = start(client, ada)
        work(job)
        done = read(client, ada, job)
        assert (done["state"], done["progress"], done["tries"]) == ("done", 3, 1)
        assert job["created_at"] <= done["started_at"] <= done["finished_at"]
        assert done["result"]["href"] == f"{JOBS}/{job['id']}/result"
        response = client.delete(f"{JOBS}/{job['id']}", headers=ada.headers)
        assert status_and_code(response) == (409, "job_finished")

    def test_hides_the_cause_of_a_failure(
        self, client: TestClient, ada: Someone, work: Work
    ) -> None:
        async def fail(_: Job) -> None:
            raise OSError("hunter2")

        job = start(client, ada)
        work(job, fail)
        response = client.get(f"{JOBS}/{job['id']}", headers=ada.headers)
        assert (response.json()["state"], response.json()["result"]) == ("failed", None)
        assert "hunter2" not in response.text

    def test_logs_the_request_of_the_job(
        self, client: TestClient, ada: Someone, work: Work
    ) -> None:
        with capture_logs([merge_contextvars]) as lines:
            response = client.post(
                EXPORT, headers={**ada.headers, "X-Request-ID": "request-1"}, json={}
            )
            work(response.json())
        of_job = [line for line in lines if line.get("job_id") == response.json()["id"]]
        assert [line["event"] for line in of_job] == ["job started", "job ended"]
        for line in of_job:
            assert line["request_id"] == "request-1"
            assert line["user_id"] == str(ada.id)


class TestCancelJob:
    def test_ends_a_queued_job_that_has_no_result_yet(
        self, client: TestClient, queue: JobStore, ada: Someone
    ) -> None:
        job = start(client, ada)
        path = f"{JOBS}/{job['id']}"
        response = client.get(f"{path}/result", headers=ada.headers)
        assert status_and_code(response) == (409, "job_not_done")
        assert response.json()["detail"] == "The job is queued."
        assert client.delete(path, headers=ada.headers).status_code == 204
        assert read(client, ada, job)["state"] == "cancelled"
        assert client.delete(path, headers=ada.headers).status_code == 204
        assert start(client, ada)["id"] != job["id"]


class TestDownloadResult:
    @pytest.mark.parametrize("chosen", ["csv", "ndjson"])
    def test_equals_the_streamed_export(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone, work: Work, chosen: str
    ) -> None:
        arrange.items(ada, 2, title="=1+1", status="active")
        arrange.items(ada, 1, status="draft")
        arrange.items(arrange.someone(), 1, status="active")
        job = start(client, ada, format=chosen, filter={"status": "active"})
        work(job)

        as_it_is = {**ada.headers, "Accept-Encoding": "identity"}
        response = client.get(f"{JOBS}/{job['id']}/result", headers=as_it_is)

        parameters = {"format": chosen, "status": "active"}
        at_once = client.get("/api/v1/items/export", headers=ada.headers, params=parameters)
        assert response.status_code == 200
        assert response.content == at_once.content
        for header in ("Content-Type", "Content-Disposition"):
            assert response.headers[header] == at_once.headers[header]
        file = read(client, ada, job)["result"]
        assert file["size"] == len(response.content) == int(response.headers["Content-Length"])
        assert file["sha256"] == hashlib.sha256(response.content).hexdigest()
        if chosen == "ndjson":
            assert len([json.loads(line) for line in response.text.splitlines()]) == 2

    def test_is_a_404_after_its_file_expired(
        self, client: TestClient, app: FastAPI, ada: Someone, work: Work
    ) -> None:
        job = start(client, ada)
        work(job)
        assert client.portal is not None
        client.portal.call(app.state.resources.storage.delete, f"{EXPORTS}{job['id']}.csv")
        response = client.get(f"{JOBS}/{job['id']}/result", headers=ada.headers)
        assert status_and_code(response) == (404, "object_not_found")


def test_ready_reports_missing_workers(client: TestClient) -> None:
    statuses = {each["name"]: each["status"] for each in client.get("/ready").json()["checks"]}
    assert statuses["workers"] == "degraded"
