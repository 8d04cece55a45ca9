"""The command line: the effect of each command, and its message when it fails."""

import asyncio
import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import pytest
import uvicorn
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from typer.testing import CliRunner, Result
from uvicorn.supervisors import ChangeReload

import dev_servers
from app.cli import app, development, operations
from app.core.security.keys import SigningKeys
from app.infrastructure.database import migrations
from dev_servers.services import services
from tests.support.databases import UNREACHABLE_URL

PASSWORD = "Analytical1Engine"
ADMIN = (
    *("create-admin", "--password", PASSWORD),
    *("--email", "ada@example.com", "--username", "ada"),
)
UNREACHABLE = {"APP_DATABASE__URL": UNREACHABLE_URL}

Run = Callable[..., Result]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory, with cheap hashes and a key as the only settings."""
    for name in list(os.environ):
        if name.startswith("APP_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setenv("APP_ENVIRONMENT", "test")
    monkeypatch.setenv("APP_PASSWORDS__MEMORY_KIB", "8")
    monkeypatch.setenv("APP_PASSWORDS__TIME_COST", "1")
    monkeypatch.setenv("APP_AUTH__SIGNING_KEYS", SigningKeys.generate().to_json())
    monkeypatch.setenv("APP_SERVER__PORT", "0")
    return tmp_path


@pytest.fixture
def run(project: Path) -> Run:
    """Run a command in that directory, with variables set; an empty one counts as unset."""

    def invoke(*arguments: str, typed: str | None = None, **variables: str) -> Result:
        return CliRunner().invoke(app, arguments, input=typed, env=variables)

    return invoke


@pytest.fixture
def migrated(
    project: Path,
    own_database_url: str,
    server_variables: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """The configured database, with all tables, and the other servers of the run."""
    monkeypatch.setenv("APP_DATABASE__URL", own_database_url)
    for name, value in server_variables.items():
        monkeypatch.setenv(name, value)
    return own_database_url


@pytest.fixture
def empty(project: Path, empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The configured database, without tables."""
    monkeypatch.setenv("APP_DATABASE__URL", empty_database_url)
    return empty_database_url


@pytest.fixture
def copies(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copies of the migrations, to be changed."""
    copies = project / "migrations"
    shutil.copy(migrations._IN_PROJECT.parent / "pyproject.toml", project)
    shutil.copytree(migrations._IN_PROJECT, copies)
    monkeypatch.setattr(migrations, "_IN_PROJECT", copies)
    return copies


@pytest.fixture
def listener() -> Iterator[str]:
    """A port in use."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield str(server.getsockname()[1])


def execute(url: str, statement: str) -> None:
    async def run() -> None:
        engine = create_async_engine(url)
        async with engine.begin() as connection:
            await connection.execute(text(statement))
        await engine.dispose()

    asyncio.run(run())


def assert_failed(result: Result, *words: str) -> None:
    """Check that a command exited with 1 and a single message with these words."""
    assert result.exit_code == 1, result.output
    assert result.stderr.splitlines()[-1 - result.stderr.count("\n  ")].startswith("Error: ")
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.stderr


class TestEveryCommand:
    @pytest.mark.parametrize(
        "command",
        [
            *("dev", "serve", "create-admin", "openapi", "prune", "migrate", "keys"),
            *(f"migrate {name}" for name in ("up", "down", "current", "history", "check", "new")),
            *(f"keys {name}" for name in ("generate", "add", "promote", "remove", "list")),
        ],
    )
    def test_has_help_with_an_example(self, run: Run, command: str) -> None:
        group, _, name = f"  {command}".rpartition(" ")
        assert f"  {name} " in run(*group.split(), "--help").output.partition("Commands:")[2]
        result = run(*command.split(), "--help")
        assert result.exit_code == 0
        assert f"app {command.split(maxsplit=1)[0]}" in result.output.split("Example:")[1]

    def test_is_guessed_from_a_name_like_it(self, run: Run) -> None:
        result = run("migrat")
        assert result.exit_code == 2
        assert "Did you mean 'migrate'" in result.output

    def test_imports_only_what_it_needs(self) -> None:
        done = subprocess.run(
            [sys.executable, "-c", "import sys, app.cli; print(*sys.modules)"],
            capture_output=True,
            text=True,
            check=True,
        )
        heavy = {"alembic", "app.config", "fastapi", "pydantic", "sqlalchemy", "uvicorn"}
        assert not heavy & set(done.stdout.split())

    @pytest.mark.parametrize("command", ["dev", "serve", "migrate", "prune"])
    def test_reports_all_invalid_settings(self, run: Run, command: str) -> None:
        result = run(command, APP_SERVER__PORT="many", APP_SERVER__WORKERS="none")
        assert_failed(result, "APP_SERVER__PORT", "APP_SERVER__WORKERS")

    @pytest.mark.parametrize(
        ("arguments", "variables", "message"),
        [
            (("migrate",), UNREACHABLE, "The database "),
            (ADMIN, UNREACHABLE, "Database unavailable"),
            *((("migrate", "new", "--", m), {}, "Summarize the") for m in ("", " ", "--")),
            *(
                (("migrate", "new", m), {}, "without backslashes")
                for m in ("copy C:\\Users", '"""; import os', "two\nlines")
            ),
            *(
                (("serve",), {"APP_SERVER__HOST": host}, f"Can't listen on {host}")
                for host in ("nowhere.invalid", "192.0.2.1")
            ),
            (("serve",), {"APP_AUTH__SIGNING_KEYS": ""}, "APP_AUTH__SIGNING_KEYS: must be set"),
            (("openapi", "-o", "no/such/place"), {}, "no/such/place can't be written"),
            (("keys", "list"), {}, "not in a file: pass one with --file"),
            (("keys", "list", "-f", "pyproject.toml"), {}, "pyproject.toml is not a private JWK"),
            (
                ("keys", "list"),
                {"APP_ENVIRONMENT": "development", "APP_AUTH__SIGNING_KEYS": ""},
                ".dev/signing-keys.json can't be read",
            ),
        ],
    )
    def test_reports_why_it_fails(
        self, run: Run, arguments: tuple[str, ...], variables: dict[str, str], message: str
    ) -> None:
        assert_failed(run(*arguments, **variables), message)

    def test_requires_the_migrations(self, run: Run, migrated: str) -> None:
        run("migrate", "down", "--to", "base", "--yes")
        for command in (("migrate", "check"), ("serve",), ("prune",), ADMIN):
            assert_failed(run(*command), "behind this code", "app migrate")


class TestMigrate:
    def test_migrates_there_and_back(self, run: Run, empty: str) -> None:
        result = run("migrate")
        assert result.exit_code == 0
        assert "applied" in result.stderr
        assert "up to date" in result.stdout
        newest = run("migrate", "history").stdout.split()[0]
        assert newest in run("migrate", "current").stdout
        assert migrations.check_revision(empty).database == (newest,)

        result = run("migrate", "down", "--to", "base", "--yes")
        assert "reverted" in result.stderr
        assert "behind this code" in result.stdout
        assert migrations.check_revision(empty).database == ()

    def test_reverts_only_what_there_is_after_a_confirmation(self, run: Run, migrated: str) -> None:
        assert_failed(run("migrate", "down", typed="n\n"), "Downgrade cancelled.")
        assert_failed(run("migrate", "down", typed=""), "Input required")
        assert_failed(run("migrate", "down", "--steps", "99", "--yes"), "99 migrations")
        assert migrations.check_revision(migrated).database != ()
        run("migrate", "down", "--to", "base", "--yes")
        assert_failed(run("migrate", "down", "--yes"), "1 migrations")

    def test_refuses_unknown_revisions(self, run: Run, migrated: str) -> None:
        assert_failed(run("migrate", "up", "nonesuch"), "nonesuch")
        execute(migrated, "UPDATE alembic_version SET version_num = 'tomorrow'")
        for command in ("up", "check"):
            assert_failed(run("migrate", command), "ahead of this code", "tomorrow")

    def test_requires_the_directory(
        self, run: Run, migrated: str, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(migrations, "_IN_PROJECT", project / "nowhere")
        assert_failed(run("migrate"), "no directory migrations/")

    def test_checks_that_the_database_equals_the_models(self, run: Run, migrated: str) -> None:
        assert run("migrate", "check").exit_code == 0
        execute(migrated, "ALTER TABLE users ADD COLUMN surplus INTEGER")
        assert_failed(run("migrate", "check"), "surplus")

    def test_writes_no_empty_migration_unless_asked(
        self, run: Run, migrated: str, copies: Path
    ) -> None:
        assert_failed(run("migrate", "new", "nothing"), "models match", "--empty")
        assert list(copies.glob("versions/*_nothing.py")) == []

    def test_tells_how_to_join_migrations_of_two_branches(
        self, run: Run, migrated: str, copies: Path
    ) -> None:
        newest = migrations.check_revision(migrated).database[0]
        first, *_ = sorted(copies.glob("versions/*.py"))
        (copies / "versions" / "theirs.py").write_text('revision = "theirs"\ndown_revision = None')
        for command in ("up", "current", "history", "check"):
            assert_failed(run("migrate", command), f"{newest}, theirs", "Set the down_revision")
        assert_failed(run("migrate", "new", "--empty", "ours"), "Set the down_revision")
        (copies / "versions" / "theirs.py").unlink()
        first.write_text(first.read_text().replace("down_revision = None", 'down_revision = "x"'))
        with pytest.warns(UserWarning, match="'x'|x referenced"):
            assert_failed(run("migrate"), "down_revision 'x'")

    def test_refuses_two_migrations_with_one_revision(
        self, run: Run, migrated: str, copies: Path
    ) -> None:
        first, *_ = sorted(copies.glob("versions/*.py"))
        (copies / "versions" / "theirs.py").write_text(first.read_text())
        for command in ("up", "check"):
            assert_failed(run("migrate", command), f"{first.name} and theirs.py")

    def test_writes_the_difference_between_models_and_database(
        self, run: Run, migrated: str, copies: Path
    ) -> None:
        execute(migrated, "ALTER TABLE users DROP COLUMN full_name")
        for arguments in (("new", "give it back"), ("new", "--empty", "about data")):
            assert run("migrate", *arguments).exit_code == 0
            assert run("migrate").exit_code == 0
        (written,) = copies.glob("versions/*_give_it_back.py")
        assert '"full_name", sa.String(length=200)' in written.read_text()
        assert [words for _, words in migrations.history()][:2] == ["about data.", "give it back."]

        execute(migrated, "DROP INDEX ix_users_created_at_id")
        alembic = [sys.executable, "-m", "alembic", "revision", "--autogenerate", "-m", "an index"]
        subprocess.run(alembic, capture_output=True, check=True)  # noqa: S603
        (written,) = copies.glob("versions/*_an_index.py")
        assert "op.create_index" in written.read_text()
        assert "import sqlalchemy" not in written.read_text(), "it would be unused"


class TestServe:
    def test_becomes_gunicorn_if_the_database_is_migrated(
        self, run: Run, empty: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        commands: list[tuple[str, ...]] = []
        monkeypatch.setattr(os, "execv", lambda _, command: commands.append(command))
        run("serve")
        assert commands == []
        assert run("serve", "--skip-migration-check").exit_code == 0
        run("migrate")
        assert run("serve").exit_code == 0
        gunicorn = ("-m", "gunicorn", "-c", "python:app.gunicorn_config", "app.asgi:app")
        assert [command[1:] for command in commands] == [gunicorn] * 2

    def test_reports_a_port_in_use(self, run: Run, listener: str) -> None:
        result = run("serve", APP_SERVER__PORT=listener)
        assert_failed(result, f"Port {listener} on 127.0.0.1 is in use")
        measured = {"APP_METRICS__ENABLED": "true", "APP_METRICS__PORT": listener}
        result = run("serve", APP_SERVER__PORT="0", **measured)
        assert_failed(result, f"Port {listener} on 127.0.0.1 is in use; set APP_METRICS__PORT")

    def test_refuses_one_port_for_two_servers(self, run: Run, unused_tcp_port: int) -> None:
        port = str(unused_tcp_port)
        measured = {"APP_METRICS__ENABLED": "true", "APP_METRICS__PORT": port}
        result = run("serve", APP_SERVER__PORT=port, **measured)
        assert_failed(result, f"Port {port} on 127.0.0.1 is in use; set APP_METRICS__PORT")


class TestCreateAdmin:
    def test_prompts_for_omitted_options(self, run: Run, migrated: str) -> None:
        shown = " ".join(run("create-admin", "--help").output.split())
        assert shown.count("Prompted for if omitted") == 3
        assert "required" not in shown
        assert_failed(run("create-admin", "--username", "ada", typed=""), "Input required")
        result = run("create-admin", typed=f"ada@example.com\nada\n{PASSWORD}\n{PASSWORD}\n")
        assert result.exit_code == 0, result.output
        assert "ada <ada@example.com>" in result.stdout
        assert PASSWORD not in result.output

    def test_needs_nothing_that_other_tests_have_imported(self, migrated: str) -> None:
        command = (sys.executable, "-m", "app.cli", *ADMIN)
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        assert done.returncode == 0, done.stderr

    def test_starts_no_server_but_the_database(
        self, run: Run, empty: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise dev_servers.ServerUnavailable("not needed")

        for service in services():
            monkeypatch.setattr(service, "opened", refuse)
        monkeypatch.setattr(migrations, "new", lambda *_, **__: "nothing")
        monkeypatch.setenv("APP_ENVIRONMENT", "development")
        for command in (("migrate",), ("migrate", "new", "nothing"), ADMIN):
            result = run(*command)
            assert result.exit_code == 0, result.output
            assert result.stderr.count("Using ") == 1
            assert "[warning" not in result.stderr

    def test_follows_the_rules_of_every_account(self, run: Run, migrated: str) -> None:
        assert run(*ADMIN).exit_code == 0
        assert_failed(run(*ADMIN, "--username", "other"), "E-mail", "in use")
        assert_failed(run(*ADMIN, "--email", "other@example.com"), "Username", "in use")
        assert_failed(
            run(*ADMIN, "--email", "nobody", "--password", "short"), "email: ", "password: "
        )
        assert_failed(run(*ADMIN, "--password", "password"), "Error: password: The password needs")


class TestPrune:
    def test_deletes_nothing_that_is_needed(self, run: Run, migrated: str) -> None:
        result = run("prune")
        assert result.exit_code == 0
        assert "sessions" not in result.stdout

    @pytest.mark.parametrize(
        ("report", "lines"),
        [
            (
                {"sessions": 2, "refresh_tokens": 0, "login_throttles": 1},
                ["sessions: 2 deleted", "login throttles: 1 deleted"],
            ),
            ({"sessions": 0}, ["Nothing to delete."]),
        ],
    )
    def test_prints_counts(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, report: dict[str, int], lines: list[str]
    ) -> None:
        monkeypatch.setattr(operations, "with_resources", lambda *_: report)
        assert run("prune").stdout.splitlines() == lines


def test_openapi_prints_or_writes_the_document_without_settings(run: Run, project: Path) -> None:
    printed = run("openapi", APP_AUTH__SIGNING_KEYS="").stdout
    assert json.loads(printed)["openapi"].startswith("3.1")
    assert run("openapi", "-o", "api.json").stdout == ""
    assert (project / "api.json").read_text() == printed


class TestKeys:
    @pytest.fixture
    def file(self, run: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """The configured file, with one key."""
        monkeypatch.delenv("APP_AUTH__SIGNING_KEYS")
        monkeypatch.setenv("APP_AUTH__SIGNING_KEYS_FILE", "keys.json")
        assert run("keys", "generate", "--file", "keys.json").stderr == "Wrote keys.json.\n"
        return project / "keys.json"

    def test_are_written_for_their_owner_and_replaced_only_by_force(
        self, run: Run, file: Path
    ) -> None:
        assert file.stat().st_mode & 0o077 == 0
        before = file.read_text()
        assert_failed(run("keys", "generate", "--file", "keys.json"), "already exists")
        assert file.read_text() == before
        assert run("keys", "generate", "--file", "keys.json", "--force").exit_code == 0
        assert file.read_text() != before

    def test_are_rotated(self, run: Run, file: Path) -> None:
        run("keys", "add")
        old, new = SigningKeys.from_json(file.read_text()).kids
        assert_failed(run("keys", "remove", old), old, "promote another one first")
        for command in ("promote", "remove"):
            assert_failed(run("keys", command, "mine"), "No key mine")
        run("keys", "promote", new)
        assert run("keys", "list").stdout.split()[0] == new
        run("keys", "remove", old)
        assert SigningKeys.from_json(file.read_text()).kids == (new,)

    def test_pass_through_a_pipe(self, run: Run) -> None:
        first = run("keys", "generate").stdout
        both = run("keys", "add", "--file", "-", typed=first).stdout
        assert SigningKeys.from_json(both).kids[:1] == SigningKeys.from_json(first).kids

    def test_of_development_have_a_file(self, run: Run) -> None:
        run("keys", "generate", "--file", ".dev/signing-keys.json")
        result = run("keys", "list", APP_ENVIRONMENT="development", APP_AUTH__SIGNING_KEYS="")
        assert result.exit_code == 0


class TestDev:
    @pytest.fixture(autouse=True)
    def _development(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("APP_ENVIRONMENT", "development")
        monkeypatch.setattr(development, "worker_process", nullcontext, raising=False)

    @pytest.fixture
    def served(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The servers that would run."""
        runs: list[str] = []

        def note(server: object, **_: object) -> None:
            runs.append(type(server).__name__)

        monkeypatch.setattr(uvicorn.Server, "run", note)
        monkeypatch.setattr(ChangeReload, "run", note)
        return runs

    def test_migrates_and_creates_a_demo_administrator_once(
        self, run: Run, empty: str, server_variables: dict[str, str], served: list[str]
    ) -> None:
        first = run("dev", "--demo", "--no-reload", **server_variables)
        second = run("dev", "--demo", **server_variables)
        assert "applied" in first.stderr
        assert "Serving on" not in first.stderr, "nothing serves yet"
        assert migrations.check_revision(empty).database != ()
        assert "already exists" not in first.stderr
        assert "already exists" in second.stderr
        password = first.stderr.split("with the password ")[1].split()[0]
        assert f"with the password {password}" in second.stderr
        assert served == ["Server", "WatchFilesReload"]

    @pytest.mark.parametrize(
        ("statement", "message", "command"),
        [
            ("UPDATE alembic_version SET version_num = 'other'", "is ahead", "--fresh-database"),
            ("DELETE FROM alembic_version", "is behind", "app migrate"),
            ("ALTER TABLE users ADD extra INTEGER", "extra", 'app migrate new "'),
        ],
    )
    def test_reports_schema_differences_at_each_start(
        self,
        migrated: str,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
        statement: str,
        message: str,
        command: str,
    ) -> None:
        async def start(server: uvicorn.Server, _: object) -> None:
            server.started = True

        def run(server: uvicorn.Server, sockets: list[socket.socket]) -> None:
            asyncio.run(server.startup(sockets))

        monkeypatch.setattr(uvicorn.Server, "startup", start)
        monkeypatch.setattr(uvicorn.Server, "run", run)
        config = uvicorn.Config("app.asgi:app", log_config=None)
        with closing(socket.create_server(("127.0.0.1", 0))) as listening:
            development.serve_here(config, [listening])
            assert capfd.readouterr().err.splitlines()[1:] == []
            execute(migrated, statement)
            development.serve_here(config, [listening])
        first, *others = capfd.readouterr().err.splitlines()
        assert first.startswith("Serving on http://127.0.0.1:")
        assert message in "".join(others)
        assert command in "".join(others)

    def test_refuses_a_database_ahead_of_the_code_unless_it_is_to_be_deleted(
        self,
        run: Run,
        migrated: str,
        server_variables: dict[str, str],
        served: list[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        execute(migrated, "UPDATE alembic_version SET version_num = 'other'")
        assert_failed(run("dev"), "ahead of this code: it is at other", "app dev --fresh-database")
        assert_failed(run("dev", "--fresh-database"), "APP_DATABASE__URL names another")

        @contextmanager
        def running(*_: object) -> Iterator[list[dev_servers.Server]]:
            with monkeypatch.context() as patch:
                patch.setenv("APP_DATABASE__URL", migrated)
                yield []

        monkeypatch.setattr(dev_servers, "backing_services", running)
        monkeypatch.delenv("APP_DATABASE__URL")
        result = run("dev", "--fresh-database")
        assert result.exit_code == 0, result.output
        assert "applied" in result.stderr
        assert migrations.check_revision(migrated).state == "current"
        assert migrations.differences(migrated) == []
        assert served == ["WatchFilesReload"]

    def test_ends_with_the_process_that_watches_the_files(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Parent:
            def join(self) -> None:
                """The process was killed."""

        signals: list[tuple[int, int]] = []
        monkeypatch.setattr(multiprocessing, "parent_process", Parent)
        monkeypatch.setattr(os, "kill", lambda *arguments: signals.append(arguments))

        def run(_: uvicorn.Server, sockets: object) -> None:
            for thread in threading.enumerate():
                if thread.name == "end-with-parent":
                    thread.join()

        monkeypatch.setattr(uvicorn.Server, "run", run)
        monkeypatch.setattr(signal, "signal", lambda *_: None)
        development.serve_in_child(uvicorn.Config("app.asgi:app", log_config=None), None)
        assert signals == [(os.getpid(), signal.SIGTERM)]

    def test_requires_a_free_port(self, run: Run, listener: str) -> None:
        assert_failed(run("dev", "--port", listener), f"Port {listener} on 127.0.0.1 is in use")
        for port in ("-1", "65536"):
            assert run("dev", "--port", port).exit_code == 2

    def test_refuses_production(self, run: Run, server_variables: dict[str, str]) -> None:
        result = run(
            "dev",
            **server_variables,
            **UNREACHABLE,
            APP_ENVIRONMENT="production",
            APP_HTTP__TRUSTED_HOSTS="example.com",
            APP_PASSWORDS__MEMORY_KIB="19456",
            APP_PASSWORDS__TIME_COST="2",
        )
        assert_failed(result, "use `app serve` in production")

    def test_requires_a_development_installation(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(development, "has_development_servers", lambda: False)
        assert_failed(run("dev"), "not installed", "uv sync")

    def test_requires_the_directory_of_a_project(self, run: Run, project: Path) -> None:
        (project / "pyproject.toml").unlink()
        assert_failed(run("dev"), "project's directory")
        assert not (project / ".dev").exists()

    def test_reports_why_no_server_is_available(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def nothing(*_: object) -> None:
            raise dev_servers.ServerUnavailable("No server is available. Tried:\n  1. this")

        monkeypatch.setattr(dev_servers, "backing_services", nothing)
        assert_failed(run("dev"), "No server is available", "1. this")

    def test_runs_the_service_with_all_its_servers(self) -> None:
        with TemporaryDirectory() as name:
            Path(name).chmod(0o755)
            (Path(name) / "pyproject.toml").touch()
            service = subprocess.Popen(
                [sys.executable, "-m", "app.cli", "dev", "--port", "0"],
                cwd=name,
                stderr=subprocess.PIPE,
                text=True,
            )
            with service:
                assert service.stderr is not None
                try:
                    output = iter(service.stderr.readline, "")
                    address = next(line for line in output if line.startswith("Serving on "))
                    ready = f"{address.split()[2].rstrip(',')}/ready"
                    # The worker, and connections opened at first use, may be late.
                    status, deadline = "", time.monotonic() + 60
                    while status != "ready" and time.monotonic() < deadline:
                        status = httpx2.get(ready, timeout=60).json()["status"]
                finally:
                    service.send_signal(signal.SIGINT)
                service.communicate()
            assert status == "ready"
            assert service.returncode == 0
