"""Jobs over HTTP: status, cancellation and files, of a job of the tests' own."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.config import Settings
from app.core.ids import new_id
from app.core.jobs import JobFile, TooManyJobs, TrackedJob
from app.core.ports import Job, Mail, SendMail
from app.infrastructure.jobs import JobStore
from app.infrastructure.jobs.payloads import message
from app.services.jobs import EXPORTS, JobService
from tests.support.arrange import ArrangeSync, Someone
from tests.support.metrics_plugin import Measured, until, value
from tests.support.queues import Run, Witness, on, open_store, quick, working
from tests.support.redis_plugin import OwnRedis
from tests.support.waiting import eventually

JOBS = "/api/v1/jobs"
OVER = {"done", "failed", "cancelled"}

Json = dict[str, Any]
Start = Callable[..., str]
Work = Callable[..., None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(TrackedJob):
    """Write a line to a file."""

    @property
    def key(self) -> str:
        return f"{EXPORTS}{self.id}.txt"


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
def start(client: TestClient, app: FastAPI, queue: JobStore) -> Start:
    """Start a job; return its id."""

    def begin(someone: Someone, unique: str = "report") -> str:
        assert client.portal is not None
        jobs = JobService(queue, app.state.resources.storage)
        job = Report(owner_id=someone.id)
        started = client.portal.call(lambda: jobs.start(job, unique=f"{someone.id}:{unique}"))
        return str(started.id)

    return begin


@pytest.fixture
def work(client: TestClient, app: FastAPI, queue: JobStore, own: Settings) -> Work:
    """Run a worker until a job has ended."""

    async def line() -> AsyncIterator[bytes]:
        yield b"Note G"

    async def write(job: Job) -> None:
        assert isinstance(job, Report)
        stored = await app.state.resources.storage.put(job.key, line(), media_type="text/plain")
        await queue.set_progress(job.id, 1)
        file = JobFile(job.key, "text/plain", "report.txt", stored.size, stored.sha256)
        await queue.set_result(job.id, file)

    async def run(job_id: UUID, does: Run) -> None:
        async def is_over() -> bool:
            job = await queue.find(job_id)
            assert job is not None
            return job.state in OVER

        async with working(own, does, Witness(), kinds=[Report]):
            await eventually(is_over)

    def do(job_id: str, does: Run = write) -> None:
        assert client.portal is not None
        client.portal.call(run, UUID(job_id), does)

    return do


def read(client: TestClient, someone: Someone, job_id: str) -> Json:
    response = client.get(f"{JOBS}/{job_id}", headers=someone.headers)
    assert response.status_code == 200, response.text
    answer: Json = response.json()
    return answer


def status_and_code(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


class TestReadJob:
    def test_is_its_owners_alone(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone, start: Start
    ) -> None:
        job_id, other = start(ada), arrange.someone()
        for method, path in (
            ("GET", f"{JOBS}/{job_id}"),
            ("DELETE", f"{JOBS}/{job_id}"),
            ("GET", f"{JOBS}/{job_id}/result"),
        ):
            response = client.request(method, path, headers=other.headers)
            assert status_and_code(response) == (404, "job_not_found")
        job = read(client, ada, job_id)
        assert (job["kind"], job["state"], job["progress"]) == ("Report", "queued", 0)
        assert (job["started_at"], job["finished_at"], job["result"]) == (None, None, None)

    def test_shows_its_outcome(
        self, client: TestClient, ada: Someone, start: Start, work: Work
    ) -> None:
        job_id = start(ada)
        work(job_id)
        done = read(client, ada, job_id)
        assert (done["state"], done["progress"], done["tries"]) == ("done", 1, 1)
        assert done["created_at"] <= done["started_at"] <= done["finished_at"]
        assert done["result"]["href"] == f"{JOBS}/{job_id}/result"

    def test_shows_a_failure_without_its_reason(
        self, client: TestClient, ada: Someone, start: Start, work: Work
    ) -> None:
        async def fail(_: Job) -> None:
            raise OSError("hunter2")

        job_id = start(ada)
        work(job_id, fail)
        response = client.get(f"{JOBS}/{job_id}", headers=ada.headers)
        assert (response.json()["state"], response.json()["result"]) == ("failed", None)
        assert "hunter2" not in response.text

    def test_is_unavailable_while_redis_is(
        self,
        client: TestClient,
        ada: Someone,
        own: Settings,
        own_redis: Callable[[], OwnRedis],
        use: Callable[..., None],
        start: Start,
    ) -> None:
        job_id, server = start(ada), own_redis()
        with open_store(client, on(own, server)) as store:
            use(job_store=store)
            server.kill()
            for method in ("GET", "DELETE"):
                response = client.request(method, f"{JOBS}/{job_id}", headers=ada.headers)
                assert status_and_code(response) == (503, "queue_unavailable")
                assert int(response.headers["Retry-After"]) > 0


class TestStart:
    def test_returns_the_unfinished_job_of_the_same_name(self, ada: Someone, start: Start) -> None:
        assert start(ada) == start(ada)
        assert start(ada) != start(ada, "another")

    def test_refuses_more_than_a_user_may_have_at_once(
        self, client: TestClient, ada: Someone, own: Settings, start: Start
    ) -> None:
        jobs = [start(ada, f"report {number}") for number in range(own.jobs.unfinished_per_user)]
        with pytest.raises(TooManyJobs):
            start(ada)
        client.delete(f"{JOBS}/{jobs[0]}", headers=ada.headers)
        start(ada)


class TestCancelJob:
    def test_ends_one_that_waits(self, client: TestClient, ada: Someone, start: Start) -> None:
        job_id = start(ada)
        for _ in range(2):
            assert client.delete(f"{JOBS}/{job_id}", headers=ada.headers).status_code == 204
        assert read(client, ada, job_id)["state"] == "cancelled"
        assert start(ada) != job_id

    def test_refuses_one_that_is_over(
        self, client: TestClient, ada: Someone, start: Start, work: Work
    ) -> None:
        job_id = start(ada)
        work(job_id)
        response = client.delete(f"{JOBS}/{job_id}", headers=ada.headers)
        assert status_and_code(response) == (409, "job_finished")


class TestDownloadResult:
    def test_is_the_file_while_there_is_one(
        self, client: TestClient, app: FastAPI, ada: Someone, start: Start, work: Work
    ) -> None:
        job_id = start(ada)
        path = f"{JOBS}/{job_id}/result"
        waiting = client.get(path, headers=ada.headers)
        assert status_and_code(waiting) == (409, "job_not_done")
        assert waiting.json()["detail"] == "The job is queued."

        work(job_id)
        response = client.get(path, headers={**ada.headers, "Accept-Encoding": "identity"})
        assert (response.status_code, response.content) == (200, b"Note G")
        assert response.headers["Content-Disposition"] == 'attachment; filename="report.txt"'
        file = read(client, ada, job_id)["result"]
        assert file["size"] == int(response.headers["Content-Length"]) == len(response.content)

        assert client.portal is not None
        client.portal.call(app.state.resources.storage.delete, f"{EXPORTS}{job_id}.txt")
        assert status_and_code(client.get(path, headers=ada.headers)) == (404, "object_not_found")


class TestReady:
    def test_tells_whether_there_are_workers(self, client: TestClient) -> None:
        statuses = {each["name"]: each["status"] for each in client.get("/ready").json()["checks"]}
        assert statuses["workers"] == "degraded"


class TestMetrics:
    async def test_show_jobs_that_wait(self, measured: Measured) -> None:
        async with measured() as (app, client):
            await until(client, 0, "jobs_queued")
            mail = Mail(to="ada@example.com", subject="Hello", text="")
            await app.state.resources.job_store.submit(new_id(), message(SendMail(mail)))
            await until(client, 1, "jobs_queued")

            async def grows() -> bool:
                return await value(client, "jobs_oldest_age_seconds") > 0

            await eventually(grows, "it waits")
