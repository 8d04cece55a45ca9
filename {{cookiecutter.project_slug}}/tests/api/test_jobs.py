"""Jobs over HTTP: status, cancellation and files, of a job of the tests' own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.api.deps.jobs import job_service
from app.config import Settings
from app.core.ids import new_id
from app.core.jobs import JobFile, JobStatus, TooManyJobs, TrackedJob
from app.core.ports import Job
from app.infrastructure.jobs import JobStore
from app.infrastructure.payloads import message
from app.repositories.users import UserRepository
from app.resources import Resources
from app.services.jobs import EXPORTS
from tests.support.arrange import Account, Arrange, ArrangeSync
from tests.support.metrics_plugin import Measured, until, value
from tests.support.queues import Run, Witness, on, open_store, quick, submitted, working
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

    async def run(job: Report, unique: str) -> JobStatus:
        resources: Resources = app.state.resources
        async with resources.database.transaction() as session:
            jobs = job_service(resources, UserRepository(session))
            return await jobs.start(job, unique=unique)

    def begin(account: Account, unique: str = "report") -> str:
        assert client.portal is not None
        job = Report(owner_id=account.id)
        return str(client.portal.call(run, job, f"{account.id}:{unique}").id)

    return begin


@pytest.fixture
def submit(client: TestClient, app: FastAPI, queue: JobStore) -> Callable[[], None]:
    """Submit the jobs of the outbox."""

    def do() -> None:
        assert client.portal is not None
        database = app.state.resources.database
        client.portal.call(submitted, database, queue, {"Report": Report})

    return do


@pytest.fixture
def work(
    client: TestClient,
    app: FastAPI,
    queue: JobStore,
    own: Settings,
    submit: Callable[[], None],
) -> Work:
    """Submit the jobs, and run a worker until one has ended."""

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
        submit()
        assert client.portal is not None
        client.portal.call(run, UUID(job_id), does)

    return do


def read(client: TestClient, account: Account, job_id: str) -> Json:
    response = client.get(f"{JOBS}/{job_id}", headers=account.headers)
    assert response.status_code == 200, response.text
    answer: Json = response.json()
    return answer


def status_and_code(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


class TestReadJob:
    def test_is_visible_to_its_owner_only(
        self, client: TestClient, arrange: ArrangeSync, ada: Account, start: Start
    ) -> None:
        job_id, other = start(ada), arrange.account()
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
        self, client: TestClient, ada: Account, start: Start, work: Work
    ) -> None:
        job_id = start(ada)
        work(job_id)
        done = read(client, ada, job_id)
        assert (done["state"], done["progress"], done["tries"]) == ("done", 1, 1)
        assert done["created_at"] <= done["started_at"] <= done["finished_at"]
        assert done["result"]["href"] == f"{JOBS}/{job_id}/result"

    def test_shows_a_failure_without_its_reason(
        self, client: TestClient, ada: Account, start: Start, work: Work
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
        ada: Account,
        own: Settings,
        own_redis: Callable[[], OwnRedis],
        use: Callable[..., None],
        start: Start,
        submit: Callable[[], None],
    ) -> None:
        job_id, server = start(ada), own_redis()
        submit()
        with open_store(client, on(own, server)) as store:
            use(job_store=store)
            server.kill()
            for method in ("GET", "DELETE"):
                response = client.request(method, f"{JOBS}/{job_id}", headers=ada.headers)
                assert status_and_code(response) == (503, "queue_unavailable")
                assert int(response.headers["Retry-After"]) > 0


class TestStart:
    def test_returns_the_unfinished_job_of_the_same_name(
        self, ada: Account, start: Start, submit: Callable[[], None]
    ) -> None:
        first = start(ada)
        assert start(ada) == first
        assert start(ada, "another") != first
        submit()
        assert start(ada) == first

    def test_refuses_more_than_a_user_may_have_at_once(
        self,
        client: TestClient,
        ada: Account,
        own: Settings,
        start: Start,
        submit: Callable[[], None],
    ) -> None:
        jobs = []
        for number in range(own.jobs.unfinished_per_user):
            jobs.append(start(ada, f"report {number}"))
            if number == 3:
                submit()
        with pytest.raises(TooManyJobs):
            start(ada)
        client.delete(f"{JOBS}/{jobs[0]}", headers=ada.headers)
        start(ada)

    async def test_returns_one_job_to_concurrent_requests(
        self, own_app: FastAPI, arrange_own: Arrange
    ) -> None:
        ada, resources = await arrange_own.account(), own_app.state.resources

        async def start() -> UUID:
            async with resources.database.transaction() as session:
                jobs = job_service(resources, UserRepository(session))
                return (await jobs.start(Report(owner_id=ada.id), unique="report")).id

        assert len(set(await asyncio.gather(*(start() for _ in range(4))))) == 1


class TestCancelJob:
    @pytest.mark.parametrize("is_submitted", [False, True])
    def test_cancels_a_waiting_job(
        self,
        client: TestClient,
        ada: Account,
        start: Start,
        submit: Callable[[], None],
        is_submitted: bool,
    ) -> None:
        job_id = start(ada)
        if is_submitted:
            submit()
        for _ in range(2):
            assert client.delete(f"{JOBS}/{job_id}", headers=ada.headers).status_code == 204
            assert read(client, ada, job_id)["state"] == "cancelled"
        submit()
        assert read(client, ada, job_id)["state"] == "cancelled"
        assert start(ada) != job_id

    def test_cancels_a_job_that_is_being_submitted(
        self,
        client: TestClient,
        ada: Account,
        start: Start,
        submit: Callable[[], None],
        queue: JobStore,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        job_id = start(ada)
        accept = JobStore.submit

        async def accept_late(*arguments: Any, **options: Any) -> None:
            await accept(*arguments, **options)
            monkeypatch.undo()
            response = await asyncio.to_thread(
                client.delete, f"{JOBS}/{job_id}", headers=ada.headers
            )
            assert response.status_code == 204

        monkeypatch.setattr(JobStore, "submit", accept_late)
        submit()
        assert read(client, ada, job_id)["state"] == "cancelled"

    def test_refuses_a_finished_job(
        self, client: TestClient, ada: Account, start: Start, work: Work
    ) -> None:
        job_id = start(ada)
        work(job_id)
        response = client.delete(f"{JOBS}/{job_id}", headers=ada.headers)
        assert status_and_code(response) == (409, "job_finished")


class TestDownloadResult:
    def test_returns_the_file_once_it_exists(
        self, client: TestClient, app: FastAPI, ada: Account, start: Start, work: Work
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
    def test_reports_missing_workers(self, client: TestClient) -> None:
        statuses = {each["name"]: each["status"] for each in client.get("/ready").json()["checks"]}
        assert statuses["workers"] == "degraded"


class TestMetrics:
    async def test_show_waiting_jobs(self, measured: Measured) -> None:
        async with measured() as (app, client):
            await until(client, 0, "jobs_queued")
            report = Report(owner_id=new_id())
            await app.state.resources.job_store.submit(new_id(), message(report))
            await until(client, 1, "jobs_queued")

            async def grows() -> bool:
                return await value(client, "jobs_oldest_age_seconds") > 0

            await eventually(grows, "it waits")
