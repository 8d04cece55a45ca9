"""`app worker`, and the worker beside `app dev`."""

import asyncio
import multiprocessing
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from typer.testing import CliRunner, Result

from app import worker as process
from app.cli import app, development, worker
from app.config import Settings
from app.core.ids import new_id
from app.domain.notifications import SendMail
from app.domain.users import UserId
from app.infrastructure.jobs.claims import Claims
from app.infrastructure.jobs.connection import open_job_redis
from app.infrastructure.jobs.store import JobStore, WorkerInfo
from app.infrastructure.payloads import Message
from tests.support.queues import quick

ALIVE = WorkerInfo("host-1", 7, "2026-11-21T10:30:00+00:00", 1, 2, 3, 4)

Run = Callable[..., Result]


@pytest.fixture
def own(settings: Settings) -> Settings:
    return quick(settings, lease_seconds=60.0)


@pytest.fixture
def run(own: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command with a queue of this test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("APP_ENVIRONMENT", "test")
    monkeypatch.setenv("APP_JOBS__LEASE_SECONDS", "60")
    monkeypatch.setenv("APP_REDIS__PREFIX", own.redis.prefix)
    monkeypatch.setenv("APP_REDIS__URL", own.redis.url.get_secret_value())
    return lambda *arguments: CliRunner().invoke(app, ("worker", *arguments))


async def one_dead_and_one_waiting(settings: Settings) -> str:
    """Return the id of the dead-lettered job."""
    async with open_job_redis(settings.redis, settings.jobs) as redis:
        store = JobStore(redis, settings.jobs)
        claims = Claims(redis, settings.jobs, "worker-1")
        mail = Message(SendMail("password_changed", UserId(new_id()), to="ada@example.com"))
        dead = str(new_id())
        await store.submit(dead, mail)
        await store.submit(str(new_id()), mail)
        assert await claims.claim(dead, 2**50)
        await claims.begin(dead)
        await claims.running(dead, "SendMail", 1)
        assert await claims.dead(dead, "OSError")
        await claims.heartbeat(ALIVE)
    return dead


class TestStatus:
    def test_shows_workers_and_jobs(self, run: Run, own: Settings) -> None:
        dead = asyncio.run(one_dead_and_one_waiting(own))
        result = run("status")
        assert result.exit_code == 0
        lines = result.stdout.splitlines()
        assert lines[:4] == ["queued: 1", "delayed: 0", "running: 0", "dead: 1"]
        assert lines[4].startswith(f"  {dead}  SendMail  OSError, 1 tries, ")
        assert lines[5:] == ["workers: 1", "  host-1 7  running 1, done 2, failed 3, retried 4"]
        assert "ada@" not in result.output

    def test_fails_without_a_worker_or_without_redis(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        result = run("status")
        assert (result.exit_code, "workers: 0" in result.stdout) == (1, True)
        assert "No worker is running. Start one: app worker run" in result.stderr
        monkeypatch.setenv("APP_REDIS__URL", "redis://127.0.0.1:1/0")
        result = run("status")
        assert result.exit_code == 1
        assert "Job queue unavailable. (ConnectionError)" in result.stderr
        assert "Traceback" not in result.output


def test_retry_requeues_a_dead_job(run: Run, own: Settings) -> None:
    dead = asyncio.run(one_dead_and_one_waiting(own))
    assert run("retry", dead).exit_code == 0
    assert run("status").stdout.splitlines()[:4] == [
        *("queued: 2", "delayed: 0", "running: 0", "dead: 0")
    ]
    result = run("retry", dead)
    assert result.exit_code == 1
    assert f"No dead-lettered job {dead}." in result.stderr


class TestRun:
    def test_runs_jobs_by_the_settings(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[Settings] = []
        monkeypatch.setattr(process, "run", seen.append)
        monkeypatch.setattr(worker, "end_with_parent", lambda: None)
        assert run("run").exit_code == 0
        worker.work()
        assert [settings.jobs.lease_seconds for settings in seen] == [60, 60]

        def taken(_: Settings) -> None:
            raise OSError(98, "Address already in use")

        monkeypatch.setattr(process, "run", taken)
        result = run("run")
        assert result.exit_code == 1
        assert "The worker can't run: Address already in use." in result.stderr

    def test_names_the_setting_of_a_port_in_use(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            monkeypatch.setenv("APP_METRICS__ENABLED", "true")
            monkeypatch.setenv("APP_METRICS__HOST", "127.0.0.1")
            monkeypatch.setenv("APP_JOBS__METRICS_PORT", str(port))
            result = run("run")
        assert result.exit_code == 1
        assert f"Port {port} on 127.0.0.1 is in use" in result.stderr
        assert "APP_JOBS__METRICS_PORT" in result.stderr


class TestWorkerProcess:
    def test_ends_with_the_service(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(worker, "work", signal.pause)
        with worker.worker_process():
            (process,) = multiprocessing.active_children()
            assert process.name == "worker"
        assert process.exitcode == -signal.SIGTERM

    def test_starts_with_the_service(self, monkeypatch: pytest.MonkeyPatch) -> None:
        order: list[str] = []

        @contextmanager
        def noted() -> Iterator[None]:
            order.append("started")
            yield
            order.append("stopped")

        monkeypatch.setattr(development, "worker_process", noted)
        monkeypatch.setattr(uvicorn.Server, "run", lambda *_, **__: order.append("served"))
        development.serve_here(uvicorn.Config("app.asgi:app", log_config=None), None)
        assert order == ["started", "served", "stopped"]
