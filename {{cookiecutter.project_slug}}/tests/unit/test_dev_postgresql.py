"""PostgreSQL for development and tests: found or started, shared, and gone when nobody needs it."""

import fcntl
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from types import SimpleNamespace

import pytest
from sqlalchemy.engine import make_url

from dev_servers import Server, ServerUnavailable, accounts, postgresql, process
from dev_servers.accounts import Account, account_for, home_for
from tests.support.supervision import ending, left_by_killed_user

pytestmark = pytest.mark.untraced

Start = Callable[..., AbstractContextManager[Server]]
start: Start = partial(postgresql.postgresql, given=None, given_by="THE_VARIABLE")


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that every account may enter, which pytest's own are not."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    """The files of a new cluster: copied, they save the second that making one takes."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        with start(directory=Path(name) / "home"):
            pass
        yield Path(name) / "home" / "data"


@pytest.fixture
def quick(cluster: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that begin with a copy of that cluster."""

    def prepare(_: object, places: process.Places) -> list[list[str]]:
        data = places.home / "data"
        return [] if data.exists() else [["cp", "-a", str(cluster), str(data)]]

    monkeypatch.setattr(postgresql._PostgreSQL, "prepare", prepare)


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without any program of PostgreSQL's."""
    monkeypatch.setattr(postgresql, "PLACES_ON_MACHINES", ("/nowhere/*/bin",))
    monkeypatch.setenv("PATH", "/nowhere")


def scratch_of(server: Server) -> Path:
    return Path(str(make_url(server.url).query["host"]))


@pytest.mark.usefixtures("quick")
class TestThrowAwayServer:
    def test_answers_and_leaves_nothing_behind(self) -> None:
        with start(directory=None) as server:
            (version,) = postgresql.execute(server.url, "SHOW server_version")
            assert str(version).split()[0] in server.source
            assert scratch_of(server).is_dir()
        assert not scratch_of(server).exists()

    @pytest.mark.parametrize(
        ("pages", "flags", "variables", "expected"),
        [
            (2**18, 0, {}, True),
            (2**18 - 1, 0, {}, False),
            (2**18, process._NO_PROGRAMS, {}, False),
            (2**18, 0, {"TMPDIR": gettempdir()}, False),
        ],
        ids=["enough room", "too little room", "no programs", "told where to go"],
    )
    def test_is_kept_in_memory_if_that_will_do(
        self,
        pages: int,
        flags: int,
        variables: dict[str, str],
        expected: bool,
        directory: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.delenv("TMPDIR", raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        memory = SimpleNamespace(f_bavail=pages, f_frsize=4096, f_flag=flags)
        monkeypatch.setattr(process, "_MEMORY", directory)
        monkeypatch.setattr(os, "statvfs", lambda _: memory)
        scratch, alive = process._new_scratch(None, in_memory=True)
        with alive:
            shutil.rmtree(scratch)
        assert (scratch.parent == directory) is expected

    def test_several_run_side_by_side(self) -> None:
        with start(directory=None) as one, start(directory=None) as other:
            postgresql.execute(one.url, "CREATE DATABASE lonely")
            (count,) = postgresql.execute(
                other.url, "SELECT count(*) FROM pg_database WHERE datname = 'lonely'"
            )
        assert count == 0

    def test_ends_when_its_parent_is_killed(self) -> None:
        scratch = left_by_killed_user("postgresql", lambda url: scratch_of(Server("", url, "")))
        assert not scratch.exists()

    def test_is_cleaned_up_after_if_its_supervisor_was_killed_too(self, directory: Path) -> None:
        abandoned, in_use = directory / "dev-servers-1", directory / "dev-servers-2"
        for scratch in (abandoned, in_use):
            scratch.mkdir()
            (scratch / "alive").touch()
        with (in_use / "alive").open("ab") as alive:
            fcntl.flock(alive, fcntl.LOCK_EX)
            process._sweep(directory)
        assert not abandoned.exists()
        assert in_use.exists()

    def test_is_told_from_what_others_put_there(self, directory: Path) -> None:
        linked, piped = directory / "dev-servers-1", directory / "dev-servers-2"
        for scratch in (linked, piped):
            scratch.mkdir()
        (linked / "alive").symlink_to(directory / "made")
        os.mkfifo(piped / "alive")
        process._sweep(directory)  # waits for nobody to write into the pipe
        assert linked.exists()
        assert not (directory / "made").exists()

    def test_is_missed_when_somebody_else_ends_it(self, capsys: pytest.CaptureFixture[str]) -> None:
        others = set(threading.enumerate())
        with start(directory=None) as server:
            (listening,) = (
                thread
                for thread in set(threading.enumerate()) - others
                if thread.name == process.LISTENING
            )
            identity = scratch_of(server) / "data" / "postmaster.pid"
            os.kill(int(identity.read_text().split()[0]), signal.SIGKILL)
            listening.join(timeout=30)
        assert f"{server.source} has ended" in capsys.readouterr().err

    def test_is_not_missed_when_it_was_to_end(self, capsys: pytest.CaptureFixture[str]) -> None:
        with start(directory=None):
            pass
        assert capsys.readouterr().err == ""

    def test_knows_letters_of_all_scripts(self) -> None:
        with start(directory=None) as server:
            (lower,) = postgresql.execute(server.url, "SELECT lower('ÉÑЖ')")
        assert lower == "éñж"


@pytest.mark.usefixtures("quick")
class TestLastingServer:
    def test_keeps_its_data(self, directory: Path) -> None:
        with start(directory=directory / "data") as server:
            postgresql.execute(server.url, "CREATE TABLE kept AS SELECT 42 AS answer")
        with start(directory=directory / "data") as server:
            assert postgresql.execute(server.url, "SELECT answer FROM kept") == [42]

    def test_is_shared_by_those_who_need_it_at_the_same_time(self, directory: Path) -> None:
        with (
            start(directory=directory / "data") as one,
            start(directory=directory / "data") as other,
        ):
            assert other.url == one.url
            assert "running already" in other.source

    def test_goes_on_for_the_others_when_the_one_who_started_it_is_done(
        self, directory: Path
    ) -> None:
        first, second = ExitStack(), ExitStack()
        first.enter_context(start(directory=directory / "data"))
        server = second.enter_context(start(directory=directory / "data"))
        first.close()
        assert postgresql.execute(server.url, "SELECT 1") == [1]
        with ending(scratch_of(server)):
            second.close()
        assert not scratch_of(server).exists()

    def test_starts_again_at_once_while_the_one_before_is_ending(self, directory: Path) -> None:
        first, second = ExitStack(), ExitStack()
        first.enter_context(start(directory=directory / "data"))
        second.enter_context(start(directory=directory / "data"))
        first.close()
        second.close()
        with start(directory=directory / "data") as server:
            assert postgresql.execute(server.url, "SELECT 1") == [1]

    def test_does_not_touch_data_of_another_version(self, directory: Path) -> None:
        (directory / "data" / "data").mkdir(parents=True)
        (directory / "data" / "data" / "PG_VERSION").write_text("9\n")
        with (
            pytest.raises(ServerUnavailable, match="are of 9"),
            start(directory=directory / "data"),
        ):
            pass
        assert [path.name for path in (directory / "data" / "data").iterdir()] == ["PG_VERSION"]


class TestWays:
    @pytest.mark.usefixtures("quick")
    def test_first_is_an_address(self) -> None:
        with start(directory=None) as server, start(given=server.url, directory=None) as given:
            assert given.url == server.url
            assert given.source.endswith("from THE_VARIABLE")

    def test_an_address_where_nobody_answers_is_an_error(self) -> None:
        url = "postgresql+asyncpg://ada:secret@127.0.0.1:1/app"
        with (
            pytest.raises(ServerUnavailable, match="THE_VARIABLE names") as raised,
            start(given=url, directory=None),
        ):
            pass
        assert "secret" not in str(raised.value)

    @pytest.mark.usefixtures("bare_machine")
    def test_second_is_a_program_on_this_machine(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The environment may be where only its owner goes: a copy is not.
        package = postgresql._in_wheel(None)[0].directory.parents[1]
        for part in (package, package.with_name(f"{package.name}.libs")):
            shutil.copytree(
                part,
                directory / part.name,
                symlinks=True,
                ignore=postgresql._NEEDED_BY_COMPILERS,
            )
        programs = next((directory / package.name).glob("pginstall*/bin"))
        linked = directory / "linked"
        linked.mkdir()
        (linked / "postgres").symlink_to(programs / "postgres")
        monkeypatch.setenv("PATH", f"{linked}{os.pathsep}/usr/bin{os.pathsep}/bin")
        monkeypatch.setattr(postgresql, "WHEEL", "no_such_wheel")
        with start(directory=None) as server:
            assert str(programs) in server.source

    @pytest.mark.usefixtures("bare_machine")
    def test_third_is_a_wheel_also_where_a_program_on_this_machine_fails(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broken = directory / "bin"
        broken.mkdir()
        for name, script in {
            "postgres": "echo 'postgres (PostgreSQL) 99.1'",
            "initdb": "exit 3",
        }.items():
            (broken / name).write_text(f"#!/bin/sh\n{script}\n")
            (broken / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{broken}{os.pathsep}/usr/bin{os.pathsep}/bin")
        with start(directory=None) as server:
            assert postgresql.WHEEL in server.source
        monkeypatch.setattr(postgresql, "WHEEL", "no_such_wheel")
        with pytest.raises(ServerUnavailable, match="failed with status 3"), start(directory=None):
            pass

    @pytest.mark.usefixtures("bare_machine")
    def test_are_all_three_told_when_none_leads_to_a_server(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgresql, "WHEEL", "no_such_wheel")
        with pytest.raises(ServerUnavailable) as raised, start(directory=None):
            pass
        _, *ways = str(raised.value).splitlines()
        assert [way.split(":")[0].strip() for way in ways] == [
            "1. an address",
            "2. a program on this machine",
            "3. a program from a wheel",
        ]

    def test_copies_programs_that_their_user_can_not_reach(self, directory: Path) -> None:
        package = postgresql._in_wheel(None)[0].directory.parents[1]
        installation = postgresql.Installation(package / "pginstall18" / "bin", "18", package)
        places = process.Places(directory, directory, None)
        program = postgresql._PostgreSQL(installation)._program("postgres", places)
        assert program.is_relative_to(directory)
        version = accounts.run_as(None, [str(program), "--version"])
        assert str(version).startswith("postgres (PostgreSQL) 18")


class TestAccounts:
    def test_we_run_servers_ourselves_unless_we_are_root(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        assert account_for(None) is None

    def test_root_runs_no_server_as_root(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        for home in (None, directory / "not" / "yet" / "there"):
            account = account_for(home)
            assert account is not None
            assert account.uid != 0

    def test_data_go_elsewhere_if_the_account_can_not_enter_the_project(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        account = Account("somebody", os.getuid(), os.getgid())
        monkeypatch.setattr(Account, "reaches", lambda *_: False)
        monkeypatch.setattr(accounts, "_STATE", directory / "state")
        asked = directory / "project" / ".dev" / "postgresql"
        home = home_for(asked, account)
        assert home.parent == directory / "state"
        assert asked.resolve() == home
        assert home_for(asked, account) == home
