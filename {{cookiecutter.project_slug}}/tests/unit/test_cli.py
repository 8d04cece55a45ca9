"""The command line: what each command does, and the sentence it ends with when it can't."""

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
from contextlib import closing, nullcontext
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
from tests.support.databases import UNREACHABLE_URL

PASSWORD = "Analytical1Engine"

Run = Callable[..., Result]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to be in, and no settings but cheap hashes and a key."""
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
    """Run a command in that directory."""

    def invoke(*arguments: str, typed: str | None = None) -> Result:
        return CliRunner().invoke(app, arguments, input=typed)

    return invoke


@pytest.fixture
def migrated(
    project: Path,
    own_database_url: str,
    server_variables: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """A database with all tables, that the settings name, with the other servers of the run."""
    monkeypatch.setenv("APP_DATABASE__URL", own_database_url)
    for name, value in server_variables.items():
        monkeypatch.setenv(name, value)
    return own_database_url


@pytest.fixture
def empty(project: Path, empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database without tables, that the settings name."""
    monkeypatch.setenv("APP_DATABASE__URL", empty_database_url)
    return empty_database_url


@pytest.fixture
def listener() -> Iterator[str]:
    """The number of a port on which somebody listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield str(server.getsockname()[1])


def execute(url: str, statement: str) -> None:
    async def run() -> None:
        engine = create_async_engine(url)
        async with engine.begin() as connection:
            await connection.execute(text(statement))
        await engine.dispose()

    asyncio.run(run())


def failed(result: Result, *words: str) -> bool:
    """Whether a command ended with exit code 1 and one sentence that says all this."""
    assert result.exit_code == 1, result.output
    assert result.stderr.splitlines()[-1 - result.stderr.count("\n  ")].startswith("Error: ")
    assert "Traceback" not in result.output
    return all(word in result.stderr for word in words)


class TestEveryCommand:
    @pytest.mark.parametrize(
        "command",
        [
            "dev",
            "serve",
            "create-admin",
            "openapi",
            "prune",
            "migrate",
            *(f"migrate {name}" for name in ("up", "down", "current", "history", "check", "new")),
            "keys",
            *(f"keys {name}" for name in ("generate", "add", "promote", "remove", "list")),
        ],
    )
    def test_has_help_with_an_example(self, run: Run, command: str) -> None:
        result = run(*command.split(), "--help")
        assert result.exit_code == 0
        assert f"app {command.split(maxsplit=1)[0]}" in result.output.split("Example:")[1]

    def test_is_shown_by_help(self, run: Run) -> None:
        shown = run("--help").output.partition("Commands:")[2]
        names = [line.split()[0] for line in shown.strip().splitlines()]
        assert {"dev", "serve", "migrate", "create-admin", "keys", "openapi", "prune"} <= {*names}

    def test_is_guessed_from_a_name_like_it(self, run: Run) -> None:
        result = run("migrat")
        assert result.exit_code == 2
        assert "Did you mean 'migrate'" in result.output

    def test_imports_only_what_it_stands_on(self) -> None:
        done = subprocess.run(
            [sys.executable, "-c", "import sys, app.cli; print(*sys.modules)"],
            capture_output=True,
            text=True,
            check=True,
        )
        heavy = {"alembic", "app.config", "fastapi", "pydantic", "sqlalchemy", "uvicorn"}
        assert not heavy & set(done.stdout.split())

    def test_tells_all_that_is_wrong_with_the_settings(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("APP_SERVER__PORT", "many")
        monkeypatch.setenv("APP_SERVER__WORKERS", "none")
        for command in ("dev", "serve", "migrate", "prune"):
            assert failed(run(command), "APP_SERVER__PORT", "APP_SERVER__WORKERS")


class TestMigrate:
    def test_brings_an_empty_database_up_to_date(self, run: Run, empty: str) -> None:
        result = run("migrate")
        assert result.exit_code == 0
        assert "applied" in result.stderr
        assert "up to date" in result.stdout
        assert migrations.check_revision(empty).database != ()

    def test_takes_steps_back(self, run: Run, migrated: str) -> None:
        result = run("migrate", "down", "--to", "base", "--yes")
        assert "reverted" in result.stderr
        assert "behind this code" in result.stdout
        assert migrations.check_revision(migrated).database == ()

    def test_says_when_there_are_not_so_many_steps_back(self, run: Run, migrated: str) -> None:
        assert failed(run("migrate", "down", "--steps", "99", "--yes"), "99 migrations")
        run("migrate", "down", "--to", "base", "--yes")
        assert failed(run("migrate", "down", "--yes"), "1 migrations")

    @pytest.mark.parametrize("message", ["", " ", "--"])
    def test_writes_none_without_words(self, run: Run, message: str) -> None:
        assert failed(run("migrate", "new", "--", message), "Summarize the migration")

    @pytest.mark.parametrize("message", ["copy C:\\Users", '"""; import os', "two\nlines"])
    def test_writes_none_whose_words_are_no_docstring(self, run: Run, message: str) -> None:
        assert failed(run("migrate", "new", message), "without backslashes")

    def test_asks_before_it_takes_steps_back(self, run: Run, migrated: str) -> None:
        assert failed(run("migrate", "down", typed="n\n"), "Downgrade cancelled.")
        assert failed(run("migrate", "down", typed=""), "Input required")
        assert migrations.check_revision(migrated).database != ()

    def test_lists_migrations_and_tells_where_the_database_is(
        self, run: Run, migrated: str
    ) -> None:
        newest = run("migrate", "history").stdout.split()[0]
        assert newest in run("migrate", "current").stdout
        assert (newest,) == migrations.check_revision(migrated).database

    def test_says_when_the_database_is_ahead_of_the_code(self, run: Run, migrated: str) -> None:
        execute(migrated, "UPDATE alembic_version SET version_num = 'tomorrow'")
        assert failed(run("migrate"), "ahead of this code", "tomorrow")
        assert failed(run("migrate", "check"), "ahead of this code", "tomorrow")

    def test_says_when_the_database_does_not_answer(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("APP_DATABASE__URL", UNREACHABLE_URL)
        assert failed(run("migrate"), "The database ")

    def test_says_when_there_is_no_such_revision(self, run: Run, migrated: str) -> None:
        assert failed(run("migrate", "up", "nonesuch"), "nonesuch")

    def test_says_when_the_migrations_are_not_there(
        self, run: Run, migrated: str, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(migrations, "_IN_PROJECT", project / "nowhere")
        assert failed(run("migrate"), "no directory migrations/")

    def test_checks_that_the_database_equals_the_models(self, run: Run, migrated: str) -> None:
        assert run("migrate", "check").exit_code == 0
        execute(migrated, "ALTER TABLE items ADD COLUMN surplus INTEGER")
        assert failed(run("migrate", "check"), "surplus")

    def test_check_fails_when_the_database_is_behind(self, run: Run, empty: str) -> None:
        assert failed(run("migrate", "check"), "behind this code")

    def test_writes_the_migration_that_the_models_ask_for(
        self, run: Run, migrated: str, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        copies = project / "migrations"
        shutil.copy(migrations._IN_PROJECT.parent / "pyproject.toml", project)
        shutil.copytree(migrations._IN_PROJECT, copies)
        monkeypatch.setattr(migrations, "_IN_PROJECT", copies)
        execute(migrated, "ALTER TABLE items DROP COLUMN description")
        for arguments in (("new", "give it back"), ("new", "--empty", "about data")):
            assert run("migrate", *arguments).exit_code == 0
            assert run("migrate").exit_code == 0
        (written,) = copies.glob("versions/*_give_it_back.py")
        assert '"description", sa.Text()' in written.read_text()
        assert [words for _, words in migrations.history()][:2] == ["about data.", "give it back."]

        execute(migrated, "DROP INDEX ix_users_created_at_id")
        assert run("migrate", "new", "an index").exit_code == 0
        (written,) = copies.glob("versions/*_an_index.py")
        assert "op.create_index" in written.read_text()
        assert "import sqlalchemy" not in written.read_text()  # which it has no use for

    def test_is_done_by_plain_alembic_as_well(self, empty: str, project: Path) -> None:
        shutil.copytree(migrations._IN_PROJECT, project / "migrations")
        shutil.copy(migrations._IN_PROJECT.parent / "pyproject.toml", project)

        def alembic(*arguments: str) -> str:
            command = [sys.executable, "-m", "alembic", *arguments]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603

        alembic("upgrade", "head")
        assert "(head)" in alembic("current")
        execute(empty, "DROP INDEX ix_users_created_at_id")
        alembic("revision", "--autogenerate", "-m", "an index")
        (written,) = (project / "migrations").glob("versions/*_an_index.py")
        assert "op.create_index" in written.read_text()


class TestServe:
    @pytest.fixture
    def executed(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
        """What this process would have become."""
        commands: list[tuple[str, ...]] = []
        monkeypatch.setattr(os, "execv", lambda _, command: commands.append(command))
        return commands

    def test_becomes_gunicorn(
        self, run: Run, migrated: str, executed: list[tuple[str, ...]]
    ) -> None:
        assert run("serve").exit_code == 0
        assert executed[0][1:] == (
            "-m",
            "gunicorn",
            "-c",
            "python:app.gunicorn_config",
            "app.asgi:app",
        )

    def test_refuses_a_database_that_is_behind_unless_told_not_to_look(
        self, run: Run, empty: str, executed: list[tuple[str, ...]]
    ) -> None:
        assert failed(run("serve"), "behind this code", "app migrate")
        assert executed == []
        assert run("serve", "--skip-migration-check").exit_code == 0
        assert len(executed) == 1

    def test_says_when_its_port_is_in_use(
        self, run: Run, migrated: str, listener: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("APP_SERVER__PORT", listener)
        assert failed(run("serve"), f"Port {listener} on 127.0.0.1 is in use")

    @pytest.mark.parametrize("host", ["nowhere.invalid", "192.0.2.1"])
    def test_says_when_its_address_is_not_of_this_machine(
        self, run: Run, migrated: str, host: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("APP_SERVER__HOST", host)
        assert failed(run("serve"), host)

    def test_says_when_there_is_no_key(
        self, run: Run, migrated: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("APP_AUTH__SIGNING_KEYS")
        assert failed(run("serve"), "APP_AUTH__SIGNING_KEYS", "app keys generate")


class TestCreateAdmin:
    def test_requires_nothing_that_it_asks_for(self, run: Run) -> None:
        shown = " ".join(run("create-admin", "--help").output.split())
        assert shown.count("Prompted for if omitted") == 3
        assert "required" not in shown

    def test_creates_an_account_that_may_do_everything(self, run: Run, migrated: str) -> None:
        result = run("create-admin", typed=f"ada@example.com\nada\n{PASSWORD}\n{PASSWORD}\n")
        assert result.exit_code == 0, result.output
        assert "ada <ada@example.com>" in result.stdout
        assert PASSWORD not in result.output

    @pytest.mark.parametrize(
        ("email", "username", "reason"),
        [("ada@example.com", "other", "e-mail"), ("other@example.com", "ada", "user name")],
    )
    def test_says_when_there_is_such_an_account(
        self, run: Run, migrated: str, email: str, username: str, reason: str
    ) -> None:
        command = ("create-admin", "--password", PASSWORD)
        assert run(*command, "--email", "ada@example.com", "--username", "ada").exit_code == 0
        assert failed(run(*command, "--email", email, "--username", username), reason, "taken")

    def test_holds_administrators_to_the_rules_for_all(self, run: Run, migrated: str) -> None:
        result = run(
            "create-admin", "--email", "nobody", "--username", "ada", "--password", "short"
        )
        assert failed(result, "email: ", "password: ")

    def test_says_when_the_database_does_not_answer(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("APP_DATABASE__URL", UNREACHABLE_URL)
        arguments = ("--email", "ada@example.com", "--username", "ada", "--password", PASSWORD)
        assert failed(run("create-admin", *arguments), "Database unavailable")

    def test_says_when_there_is_nobody_to_ask(self, run: Run) -> None:
        assert failed(run("create-admin", "--username", "ada", typed=""), "Input required")

    def test_says_when_the_database_lacks_migrations(self, run: Run, migrated: str) -> None:
        run("migrate", "down", "--to", "base", "--yes")
        arguments = ("--email", "ada@example.com", "--username", "ada", "--password", PASSWORD)
        result = run("create-admin", *arguments)
        assert failed(result, "behind this code", "app migrate")
        assert "argon2" not in result.output


class TestPrune:
    def test_deletes_nothing_that_is_needed(self, run: Run, migrated: str) -> None:
        result = run("prune")
        assert result.exit_code == 0
        assert "sessions" not in result.stdout

    def test_says_when_the_database_lacks_migrations(self, run: Run, migrated: str) -> None:
        run("migrate", "down", "--to", "base", "--yes")
        assert failed(run("prune"), "behind this code", "app migrate")

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
    def test_tells_of_what_there_was_how_much_it_deleted(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, report: dict[str, int], lines: list[str]
    ) -> None:
        monkeypatch.setattr(operations, "with_resources", lambda *_: report)
        assert run("prune").stdout.splitlines() == lines


class TestOpenapi:
    def test_prints_the_document_without_any_settings(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("APP_AUTH__SIGNING_KEYS")
        assert json.loads(run("openapi").stdout)["openapi"].startswith("3.1")

    def test_says_where_it_can_not_write(self, run: Run) -> None:
        assert failed(run("openapi", "-o", "no/such/place"), "no/such/place can't be written")

    def test_writes_it_to_a_file(self, run: Run, project: Path) -> None:
        assert run("openapi", "-o", "api.json").stdout == ""
        assert "/api/v1/items" in json.loads((project / "api.json").read_text())["paths"]


class TestKeys:
    @pytest.fixture
    def file(self, run: Run, project: Path) -> Path:
        """A file with one key."""
        result = run("keys", "generate", "--file", "keys.json")
        assert result.exit_code == 0
        assert result.stderr == "Wrote keys.json.\n"
        return project / "keys.json"

    def test_makes_a_file_that_only_its_owner_may_read(self, file: Path) -> None:
        assert file.stat().st_mode & 0o077 == 0
        assert len(SigningKeys.from_json(file.read_text()).kids) == 1

    def test_replaces_keys_only_by_force(self, run: Run, file: Path) -> None:
        before = file.read_text()
        assert failed(run("keys", "generate", "--file", str(file)), "already exists")
        assert file.read_text() == before
        assert run("keys", "generate", "--file", str(file), "--force").exit_code == 0
        assert file.read_text() != before

    def test_rotates(self, run: Run, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("APP_AUTH__SIGNING_KEYS")
        monkeypatch.setenv("APP_AUTH__SIGNING_KEYS_FILE", str(file))
        run("keys", "add")
        old, new = SigningKeys.from_json(file.read_text()).kids
        assert failed(run("keys", "remove", old), old, "promote another one first")
        run("keys", "promote", new)
        assert run("keys", "list").stdout.split()[0] == new
        run("keys", "remove", old)
        assert SigningKeys.from_json(file.read_text()).kids == (new,)

    def test_works_in_a_pipe(self, run: Run) -> None:
        first = run("keys", "generate").stdout
        both = run("keys", "add", "--file", "-", typed=first).stdout
        assert SigningKeys.from_json(both).kids[:1] == SigningKeys.from_json(first).kids

    def test_development_has_a_file_of_its_own(
        self, run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("APP_ENVIRONMENT", "development")
        monkeypatch.delenv("APP_AUTH__SIGNING_KEYS")
        assert failed(run("keys", "list"), ".dev/signing-keys.json can't be read")
        run("keys", "generate", "--file", ".dev/signing-keys.json")
        assert run("keys", "list").exit_code == 0

    @pytest.mark.parametrize("command", ["promote", "remove"])
    def test_says_when_there_is_no_such_key(self, run: Run, file: Path, command: str) -> None:
        assert failed(run("keys", command, "mine", "--file", str(file)), "no key mine")

    def test_says_when_the_keys_are_in_no_file(self, run: Run) -> None:
        assert failed(run("keys", "list"), "not in a file", "--file")

    def test_says_when_a_file_holds_no_keys(self, run: Run, project: Path) -> None:
        (project / "notes.txt").write_text("{}")
        assert failed(run("keys", "list", "--file", "notes.txt"), "notes.txt is not a private JWK")


class TestDev:
    @pytest.fixture(autouse=True)
    def development(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("APP_ENVIRONMENT", "development")

    @pytest.fixture(autouse=True)
    def no_worker(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(development, "worker_process", nullcontext, raising=False)

    @pytest.fixture
    def served(self, monkeypatch: pytest.MonkeyPatch) -> list[object]:
        """What would have been served."""
        runs: list[object] = []

        def note(server: object, **_: object) -> None:
            runs.append(server)

        monkeypatch.setattr(uvicorn.Server, "run", note)
        monkeypatch.setattr(ChangeReload, "run", note)
        return runs

    def test_makes_an_administrator_for_a_demonstration_once(
        self, run: Run, migrated: str, served: list[object]
    ) -> None:
        first, second = run("dev", "--demo", "--no-reload"), run("dev", "--demo")
        assert "already exists" not in first.stderr
        assert "already exists" in second.stderr
        password = first.stderr.split("with the password ")[1].split()[0]
        assert f"with the password {password}" in second.stderr
        assert [type(server).__name__ for server in served] == ["Server", "WatchFilesReload"]

    def test_migrates_first(self, run: Run, empty: str, served: list[object]) -> None:
        assert "applied" in run("dev").stderr
        assert migrations.check_revision(empty).database != ()

    def test_ends_with_the_process_that_watches_the_files(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Parent:
            def join(self) -> None:
                """It has been killed."""

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

    def test_says_when_its_port_is_in_use(self, run: Run, listener: str) -> None:
        assert failed(run("dev", "--port", listener), f"Port {listener} on 127.0.0.1 is in use")

    def test_is_not_for_production(
        self, run: Run, server_variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        variables = {
            "APP_ENVIRONMENT": "production",
            "APP_DATABASE__URL": UNREACHABLE_URL,
            "APP_HTTP__TRUSTED_HOSTS": "example.com",
            "APP_PASSWORDS__MEMORY_KIB": "19456",
            "APP_PASSWORDS__TIME_COST": "2",
        }
        for name, value in {**server_variables, **variables}.items():
            monkeypatch.setenv(name, value)
        assert failed(run("dev"), "use `app serve` in production")

    def test_says_when_this_is_no_development_installation(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(development, "has_development_servers", lambda: False)
        assert failed(run("dev"), "not installed", "uv sync")

    @pytest.mark.parametrize("port", ["-1", "65536", "99999"])
    def test_refuses_what_is_no_port(self, run: Run, port: str) -> None:
        assert run("dev", "--port", port).exit_code == 2

    def test_keeps_its_data_in_projects_alone(self, run: Run, project: Path) -> None:
        (project / "pyproject.toml").unlink()
        assert failed(run("dev"), "project's directory")
        assert not (project / ".dev").exists()

    def test_says_which_ways_were_tried_when_no_server_is_to_be_had(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def nothing(*_: object) -> None:
            raise dev_servers.ServerUnavailable("No server is to be had. Tried:\n  1. this")

        monkeypatch.setattr(dev_servers, "backing_services", nothing)
        assert failed(run("dev"), "No server is to be had", "1. this")

    def test_runs_the_service_and_all_that_it_needs(
        self, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
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
                    said = iter(service.stderr.readline, "")
                    address = next(line for line in said if line.startswith("Serving on "))
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
