"""`app worker`, and the worker beside `app dev`."""

import asyncio
import multiprocessing
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import watchfiles
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from app.cli import app, companions, reloading
from app.cli import worker as commands
from app.cli.output import CommandFailed
from app.config import Settings
from app.core.ids import new_id
from app.core.ports import Mail, SendMail
from app.infrastructure.jobs.claims import Claims
from app.infrastructure.jobs.connection import open_job_redis
from app.infrastructure.jobs.payloads import Packed
from app.infrastructure.jobs.store import JobStore, WorkerInfo
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
    """Return the id of the dead one."""
    async with open_job_redis(settings) as redis:
        store = JobStore(redis, settings.jobs)
        claims = Claims(redis, settings.jobs, "worker-1")
        mail = Packed(SendMail(Mail("ada@example.com", "Hello", "This is secret.")))
        dead = str(new_id())
        await store.submit(dead, mail)
        await store.submit(str(new_id()), mail)
        assert await claims.claim(dead, 2**50)
        await claims.begin(dead)
        await claims.note_start(dead, "SendMail", 1)
        assert await claims.dead(dead, "OSError")
        await claims.beat(ALIVE)
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
        assert "secret" not in result.output

    def test_fails_if_there_is_no_worker(self, run: Run) -> None:
        result = run("status")
        assert result.exit_code == 1
        assert "workers: 0" in result.stdout
        assert "No worker lives. Start one: app worker run" in result.stderr

    def test_says_when_redis_does_not_answer(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("APP_REDIS__URL", "redis://127.0.0.1:1/0")
        result = run("status")
        assert result.exit_code == 1
        assert "The queue of jobs is not available right now. (ConnectionError)" in result.stderr
        assert "Traceback" not in result.output


class TestRetry:
    def test_puts_a_dead_job_back(self, run: Run, own: Settings) -> None:
        dead = asyncio.run(one_dead_and_one_waiting(own))
        assert run("retry", dead).exit_code == 0
        assert run("status").stdout.splitlines()[:4] == [
            *("queued: 2", "delayed: 0", "running: 0", "dead: 0")
        ]

    def test_says_when_there_is_none(self, run: Run) -> None:
        result = run("retry", "1")
        assert result.exit_code == 1
        assert "There is no dead job 1." in result.stderr


class TestRun:
    def test_does_jobs_by_the_settings(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[Settings] = []
        monkeypatch.setattr(commands, "run_worker", seen.append)
        assert run("run").exit_code == 0
        assert seen[0].jobs.lease_seconds == 60

    def test_says_why_it_can_not(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        def taken(_: Settings) -> None:
            raise OSError(98, "Address already in use")

        monkeypatch.setattr(commands, "run_worker", taken)
        result = run("run")
        assert result.exit_code == 1
        assert "The worker can't run: Address already in use." in result.stderr


class FakeProcess:
    """A process that lives until it is asked to end."""

    def __init__(self, *, lives: bool) -> None:
        self.lives = lives
        self.calls: list[str] = []

    def start(self) -> None:
        self.calls.append("start")

    def is_alive(self) -> bool:
        return self.lives

    def terminate(self) -> None:
        self.calls.append("terminate")

    def kill(self) -> None:
        self.calls.append("kill")

    def join(self, timeout: float | None = None) -> None:
        self.calls.append("join")


class TestCompanion:
    @pytest.fixture
    def processes(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
        """What would have been run, as processes that do nothing."""
        made: list[Any] = []

        class Context:
            lives = True

            def Process(  # noqa: N802
                self, target: Callable[..., None], kwargs: dict[str, bool], name: str
            ) -> FakeProcess:
                process = FakeProcess(lives=Context.lives)
                made.append((target, kwargs, process))
                return process

        monkeypatch.setattr(multiprocessing, "get_context", lambda _: Context())
        yield made
        Context.lives = True

    @pytest.mark.parametrize("reload", [True, False])
    def test_is_a_worker_that_ends_with_the_service(
        self, own: Settings, processes: list[Any], *, reload: bool
    ) -> None:
        asyncio.run(one_dead_and_one_waiting(own))
        with companions.companions(own, reload=reload):
            ((target, given, process),) = processes
            assert process.calls == ["start"]
        assert process.calls == ["start", "terminate", "join", "kill", "join"]
        assert target is reloading.keep
        assert given == {"reload": reload}

    def test_is_missed_if_it_does_not_start(
        self, own: Settings, monkeypatch: pytest.MonkeyPatch, processes: list[Any]
    ) -> None:
        monkeypatch.setattr(FakeProcess, "is_alive", lambda _: False)
        with (
            pytest.raises(CommandFailed, match="did not start"),
            companions.companions(own, reload=False),
        ):
            raise AssertionError

    def test_works_by_the_settings_of_its_environment(
        self, run: Run, own: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[SecretStr] = []
        monkeypatch.setattr(companions, "run", lambda settings: seen.append(settings.redis.url))
        companions.work()
        assert seen == [own.redis.url]


class Changes:
    """What is seen of the source files: look by look, until somebody interrupts."""

    def __init__(self, looks: list[Callable[[], bool]]) -> None:
        self.looks = looks
        self.counts: Callable[[watchfiles.Change, str], bool] | None = None

    def watch(
        self, path: Path, watch_filter: Callable[[watchfiles.Change, str], bool], **_: object
    ) -> Iterator[set[str]]:
        assert (path / "worker").is_dir()
        self.counts = watch_filter
        for look in self.looks:
            yield {"a file"} if look() else set()
        raise KeyboardInterrupt


class TestKeep:
    """The worker is a process that sleeps; `WORK` names what it does instead."""

    @pytest.fixture
    def started(self, monkeypatch: pytest.MonkeyPatch) -> list[BaseProcess]:
        """The processes that are started, in order."""
        processes: list[BaseProcess] = []
        start = reloading._started

        def noted() -> BaseProcess:
            processes.append(start())
            return processes[-1]

        monkeypatch.setattr(reloading, "_started", noted)
        monkeypatch.setattr(reloading, "WORK", "signal.pause")
        monkeypatch.setattr(signal, "signal", lambda *_: None)
        return processes

    @staticmethod
    def keep(
        monkeypatch: pytest.MonkeyPatch, *looks: Callable[[], bool], reload: bool = True
    ) -> Changes:
        changes = Changes(list(looks))
        monkeypatch.setattr(watchfiles, "watch", changes.watch)
        reloading.keep(reload=reload)
        return changes

    def test_starts_another_worker_when_a_source_file_changes(
        self, started: list[BaseProcess], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        changes = self.keep(monkeypatch, lambda: False, lambda: True, lambda: False)
        assert [process.exitcode for process in started] == [-signal.SIGTERM] * 2
        assert changes.counts is not None
        assert changes.counts(watchfiles.Change.modified, "app/worker/worker.py")
        assert not changes.counts(watchfiles.Change.modified, "app/notes.txt")

    def test_watches_for_no_change_where_it_should_not(
        self, started: list[BaseProcess], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        changes = self.keep(monkeypatch, lambda: False, reload=False)
        assert len(started) == 1
        assert changes.counts is not None
        assert not changes.counts(watchfiles.Change.modified, "app/worker/worker.py")

    @pytest.mark.parametrize("reload", [True, False])
    def test_starts_another_worker_when_one_is_killed(
        self,
        started: list[BaseProcess],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        *,
        reload: bool,
    ) -> None:
        def kill() -> bool:
            started[0].kill()
            started[0].join()
            return False

        self.keep(monkeypatch, kill, lambda: False, reload=reload)
        assert [process.exitcode for process in started] == [-signal.SIGKILL, -signal.SIGTERM]
        said = capsys.readouterr().err
        assert said == "The worker was killed by SIGKILL: another starts.\n"

    def test_starts_one_that_has_ended_by_itself_after_a_change_alone(
        self,
        started: list[BaseProcess],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def end() -> bool:
            started[0].join()
            monkeypatch.setattr(reloading, "WORK", "signal.pause")
            return False

        monkeypatch.setattr(reloading, "WORK", "app.cli.no_such_module")
        self.keep(monkeypatch, end, lambda: False, lambda: True)
        assert [process.exitcode for process in started] == [1, -signal.SIGTERM]
        assert capsys.readouterr().err == "The worker has ended; its log says why.\n"

    def test_ends_with_one_that_no_change_would_start(
        self, started: list[BaseProcess], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def end() -> bool:
            started[0].join()
            return False

        def not_reached() -> bool:
            raise AssertionError

        monkeypatch.setattr(reloading, "WORK", "app.cli.no_such_module")
        self.keep(monkeypatch, end, not_reached, reload=False)
        assert [process.exitcode for process in started] == [1]

    def test_calls_the_work_by_its_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        done: list[bool] = []
        monkeypatch.setattr(companions, "work", lambda: done.append(True))
        reloading.do(reloading.WORK)
        assert done == [True]

    def test_stands_on_nothing_of_the_service(self) -> None:
        looked = "import sys, app.cli.reloading; print(*sys.modules, sep='\\n')"
        done = subprocess.run(  # noqa: S603 - our own words
            [sys.executable, "-c", looked], capture_output=True, text=True, check=True
        )
        heavy = {"app.core.config", "app.infrastructure", "fastapi", "pydantic", "sqlalchemy"}
        assert not heavy & set(done.stdout.split())
