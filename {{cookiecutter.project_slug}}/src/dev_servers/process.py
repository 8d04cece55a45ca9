"""Servers as processes: started once, shared by those who need them, gone with the last of them."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from dev_servers import supervisor
from dev_servers.accounts import Account

_SCRATCH = "dev-servers-"
_LONGEST_TEMPORARY_DIRECTORY = 64
_MEMORY = Path("/dev/shm")  # noqa: S108 - mkdtemp makes ours in it
_MEMORY_BYTES = 2**30
_NO_PROGRAMS = getattr(os, "ST_NOEXEC", 8)
_START_SECONDS = 60
_STOP_SECONDS = 30
_STOP_SECONDS_IF_SHARED = 1
_POLL_SECONDS = 0.01

LISTENING = "server-supervision"
"""Name of the thread that hears of the end of a server."""


class StartFailed(Exception):
    """A program was there and did not become a server; the message says what it printed."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where a server may write.

    Attributes:
        home: For data. Lasts, or goes with the server if that is a throw-away one.
        scratch: For sockets (its path is short enough for them) and copies. Goes with the server.
        account: Who runs the server, and owns both; None: we ourselves.
    """

    home: Path
    scratch: Path
    account: Account | None

    @property
    def lasting(self) -> bool:
        """Whether the data are kept; if not, the server may hurry and forget."""
        return self.home != self.scratch


class Program(Protocol):
    """How a kind of server is run."""

    @property
    def source(self) -> str:
        """Which program it is, in words for people."""

    def stop_signal(self, places: Places) -> signal.Signals:
        """What ends it."""

    def prepare(self, places: Places) -> Sequence[Sequence[str]]:
        """Commands to run before it, one after the other."""

    def serve(self, places: Places) -> Sequence[str]:
        """The command that is the server, in the foreground."""

    def is_up(self, places: Places) -> bool:
        """Whether it answers."""


@contextmanager
def running(
    program: Program, home: Path | None, account: Account | None, *, in_memory: bool = False
) -> Iterator[tuple[Places, str]]:
    """Have a server answer while the block runs; gives its places and its source.

    Args:
        program: What to run.
        home: Directory of data that last. Whoever names the same one at the same time gets the same
            server. None: a server of one's own, of which nothing is left afterwards.
        account: Who runs it; None: we ourselves.
        in_memory: Whether data that don't last are few enough for memory, if the machine has room.

    Raises:
        StartFailed: It does not start.
    """
    supervision = _Supervision(program)
    with ExitStack() as stack:
        stack.callback(supervision.wait_for_end)
        if home is None:
            scratch, alive = _new_scratch(account, in_memory=in_memory)
            stack.enter_context(_locked(scratch / "users", fcntl.LOCK_SH, account))
            places, source = Places(scratch, scratch, account), program.source
            supervision.start(places, alive)
        else:
            stack.enter_context(_locked(home / "users", fcntl.LOCK_SH, account))
            with _locked(home / "starting", fcntl.LOCK_EX, account):
                found = _recorded(home, account)
                if found and program.is_up(found[0]):
                    places, source = found[0], f"{found[1]}, running already"
                else:
                    scratch, alive = _new_scratch(account, in_memory=False)
                    places, source = Places(home, scratch, account), program.source
                    supervision.start(places, alive)
                    _record(places, source)
        yield places, source


class _Supervision:
    """The process that runs the server for us, if it is we who started it."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._shared = False
        self._is_up = False
        self._said = ""
        self._has_said = threading.Event()

    def start(self, places: Places, alive: IO[bytes]) -> None:
        """Start the server, and return when it answers; `alive` becomes the supervisor's."""
        with alive:
            task = self._task(places)
            self._shared = places.lasting
            self._process = subprocess.Popen(  # noqa: S603 - the command is ours
                [sys.executable, "-I", "-S", supervisor.__file__, json.dumps(task)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=0,
                cwd="/",
                env=_environment(),
                pass_fds=[alive.fileno()],
                start_new_session=True,
            )
            listening = threading.Thread(target=self._listen, name=LISTENING, daemon=True)
            listening.start()
        deadline = time.monotonic() + _START_SECONDS
        while not self._program.is_up(places):
            if (said := self._hears(_POLL_SECONDS)) is not None:
                raise StartFailed(said or "it was stopped")
            if time.monotonic() > deadline:
                raise StartFailed(f"it did not answer within {_START_SECONDS} seconds")
        self._is_up = True

    def wait_for_end(self) -> None:
        """Return when the server is gone, or it has turned out that others still use it."""
        if self._process is None:
            return
        if self._shared and self._hears(_STOP_SECONDS_IF_SHARED) is None:
            # It ends with the last of the others, and is then the system's child, not ours.
            self._process.returncode = 0
        else:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)

    def _task(self, places: Places) -> supervisor.Task:
        account = places.account
        return {
            "users": str(places.home / "users"),
            "prepare": [list(command) for command in self._program.prepare(places)],
            "serve": list(self._program.serve(places)),
            "account": (account.uid, account.gid) if account else None,
            "directory": str(places.scratch),
            "log": str(places.home / "log"),
            "stop_signal": int(self._program.stop_signal(places)),
            "remove": str(places.scratch),
        }

    def _hears(self, seconds: float) -> str | None:
        """What the supervisor says in that time: why it stops ("" if it was asked to), or None."""
        return self._said if self._has_said.wait(seconds) else None

    def _listen(self) -> None:
        """Wait for the supervisor to say why it stops; pass it on to people if nobody asked it to.

        Whatever has stopped the server, `kill` or a fault of its own: those who use it would
        otherwise see nothing but connections that are refused.
        """
        if self._process is None or self._process.stdout is None:
            return
        with self._process.stdout as stdout:
            said = stdout.readline().decode(errors="replace")
            try:
                self._said = str(json.loads(said))
            except json.JSONDecodeError:
                rest = stdout.read().decode(errors="replace")
                self._said = said + rest or "what watched over it was killed"
        self._has_said.set()
        if self._said and self._is_up:
            end = f"{self._program.source} has ended: {self._said}"
            print(f"{end}\nWhat needs it will fail until you run this again.", file=sys.stderr)


def temporary_directory(account: Account | None) -> Path:
    """The directory for scratch directories: one that the account may enter, with a short path."""
    here = Path(tempfile.gettempdir()).resolve()
    if len(str(here)) <= _LONGEST_TEMPORARY_DIRECTORY and (not account or account.reaches(here)):
        return here
    return Path("/tmp").resolve()  # noqa: S108 - mkdtemp makes ours in it


def _new_scratch(account: Account | None, *, in_memory: bool) -> tuple[Path, IO[bytes]]:
    """Make a scratch directory, and the open file whose lock says that it is in use."""
    parent = temporary_directory(account)
    for place in (parent, _MEMORY):
        _sweep(place)
    if in_memory and _memory_will_do(account):
        parent = _MEMORY
    scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=parent))
    # Locked before it has the name that `_sweep` looks for.
    alive = _locked(scratch / "new", fcntl.LOCK_EX, None)
    (scratch / "new").rename(scratch / "alive")
    if account:
        account.owns(scratch)
    return scratch, alive


def _memory_will_do(account: Account | None) -> bool:
    """Whether a scratch directory can be in memory, where files are made in a fraction of the time.

    Whoever sets `TMPDIR` has said where they go, as those should whose machine empties `/dev/shm`
    when they log out (`RemoveIPC` of systemd) while their tests go on.
    """
    if "TMPDIR" in os.environ or not os.access(_MEMORY, os.W_OK | os.X_OK):
        return False
    found = os.statvfs(_MEMORY)
    has_room = found.f_bavail * found.f_frsize >= _MEMORY_BYTES
    # Programs are copied there, too, and containers often forbid to run them.
    may_run = not found.f_flag & _NO_PROGRAMS
    return has_room and may_run and (not account or account.reaches(_MEMORY))


def _sweep(parent: Path) -> None:
    """Remove scratch directories of ours whose supervisor was killed before it could."""
    for alive in parent.glob(f"{_SCRATCH}*/alive"):
        # Anybody may put a link or a pipe there.
        with contextlib.suppress(OSError), open(alive, "rb", opener=_as_it_is) as file:
            if os.fstat(file.fileno()).st_uid == os.geteuid():
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(alive.parent, ignore_errors=True)


def _as_it_is(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _locked(path: Path, how: int, account: Account | None) -> IO[bytes]:
    """Open a file and lock it, waiting if need be; whoever closes it gives the lock back."""
    file = path.open("ab")
    try:
        if account:
            account.owns(path)
        fcntl.flock(file, how)
    except BaseException:
        file.close()
        raise
    return file


def _record(places: Places, source: str) -> None:
    """Note where the server is, for those who come later."""
    record = places.home / "running.json"
    record.write_text(json.dumps({"scratch": str(places.scratch), "source": source}))
    if places.account:
        places.account.owns(record)


def _recorded(home: Path, account: Account | None) -> tuple[Places, str] | None:
    """Where the last server with these data was, and its source."""
    try:
        record = json.loads((home / "running.json").read_text())
        return Places(home, Path(record["scratch"]), account), str(record["source"])
    except (OSError, ValueError, KeyError):
        return None


def _environment() -> dict[str, str]:
    """Our variables, without those by which people set up clients, and in the plainest language."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return mine | {"LC_ALL": "C"}
