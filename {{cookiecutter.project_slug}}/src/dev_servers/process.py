"""Processes that run a server for as long as it has users.

Users hold a shared lock on the file `users`, which the kernel releases however they end. The
process waits for the exclusive lock, then stops its server. While it runs, it holds a lock on
`server.json`, which has the server's address.
"""

import fcntl
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from dev_servers.server import Server, ServerUnavailable

_USABLE: Final = re.compile(r"[\w./-]+")
"""Paths that the wheels can use: they don't quote them."""

_STOP_SECONDS: Final = 30
_STOP_SECONDS_IF_SHARED: Final = 1
_LOG_TAIL: Final = 1500


@contextmanager
def running(name: str, directory: Path | None) -> Iterator[Server]:
    """Yield a running server.

    Args:
        name: Module of this package whose `serve` runs it.
        directory: Location of its data. Commands that name the same directory share the server.
            None: a separate server, whose data is removed at the end.

    Raises:
        ServerUnavailable: It did not start.
    """
    home = _home(directory) if directory else Path(tempfile.mkdtemp(prefix="dev-servers-"))
    process = None
    with (home / "users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)  # waits for a server that is stopping
        with (home / "starting").open("w") as starting, (home / "server.json").open("a+") as record:
            fcntl.flock(starting, fcntl.LOCK_EX)
            if not _is_running(record):
                process = _start(name, home, "keep" if directory else "remove")
        yield Server(**json.loads((home / "server.json").read_text()))
    if process:
        try:
            process.wait(_STOP_SECONDS_IF_SHARED if directory else _STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.returncode = 0  # it ends with its last user, and Popen need not warn


def _home(directory: Path) -> Path:
    """Create a directory, or one in the user's home if the wheels can't use its path."""
    home = directory.resolve()
    if not _USABLE.fullmatch(str(home)):
        digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:12]
        home = Path.home() / ".local/state/dev-servers" / f"{home.name}-{digest}"
        print(f"The path {directory.resolve()} needs quoting: the data is in {home}.")
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ServerUnavailable(f"Can't create the directory of a server: {error}.") from error
    return home


def _is_running(record: IO[str]) -> bool:
    try:
        fcntl.flock(record, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(record, fcntl.LOCK_UN)
    return False


def _start(name: str, home: Path, data: str) -> "subprocess.Popen[str]":
    # Independent of the user's locale, so that databases handle letters of all scripts.
    locale = {"LC_ALL": "C.UTF-8"} if sys.platform == "linux" else {}
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        process = subprocess.Popen(  # noqa: S603 - the command is ours
            [sys.executable, "-m", "dev_servers", name, str(home), data],
            env=os.environ | locale,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the users
            text=True,
        )
        assert process.stdout is not None
        with process.stdout:
            if not process.stdout.readline():
                process.wait()
                log.seek(0)
                reason = log.read()[-_LOG_TAIL:].strip()
                raise ServerUnavailable(f"The server `{name}` did not start:\n{reason}")
    return process
