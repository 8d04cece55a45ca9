"""Run a server for as long as somebody uses it; then stop it and remove what it leaves.

A program of its own, given its task as JSON. Everyone who uses the server holds a shared lock on
the file `users`. The system takes a lock back from a process however that ends, by `kill -9` too,
so the server ends when, and only when, the exclusive lock is to be had. It needs the standard
library alone, and no `site`.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

_PR_SET_PDEATHSIG = 1
_TRIES = 50
_SECONDS_BETWEEN_TRIES = 0.1
_GRACE_SECONDS = 20
_TAIL = 1500


class Task(TypedDict):
    """What to do.

    Attributes:
        users: The file whose shared lock says that somebody uses the server.
        prepare: Commands to run first, one after the other.
        serve: The command that is the server.
        account: User and group id to run them as; None for our own.
        directory: Where to run them.
        log: The file that takes what they print.
        stop_signal: The signal that ends the server.
        remove: The directory to remove at the end.
    """

    users: str
    prepare: list[list[str]]
    serve: list[str]
    account: tuple[int, int] | None
    directory: str
    log: str
    stop_signal: int
    remove: str


def main(task: Task) -> None:
    """Carry out a task. Prints one line of JSON when it stops: why."""
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    reason = ""
    try:
        Path(task["log"]).unlink(missing_ok=True)
        with Path(task["log"]).open("xb") as log:
            reason = _prepare_and_serve(task, partial(_start, task, log))
    except OSError as error:
        reason = str(error)
    finally:
        if reason:
            reason = f"{reason}\n{_tail(Path(task['log']))}".strip()
        _remove(Path(task["remove"]))
        _report(reason)


def _remove(directory: Path) -> None:
    """Remove a directory, also if a process that is just ending still writes into it."""
    for _ in range(_TRIES):
        shutil.rmtree(directory, ignore_errors=True)
        if not directory.exists():
            return
        threading.Event().wait(_SECONDS_BETWEEN_TRIES)


def _prepare_and_serve(task: Task, start: Callable[[list[str]], "subprocess.Popen[bytes]"]) -> str:
    """Run the commands to their end; return what went wrong, or nothing."""
    for command in task["prepare"]:
        if status := start(command).wait():
            return f"{command[0]} failed with status {status}"
    # The file that others have locked: a server that ends at once takes its directory with it, and
    # under the same name there would then be a file that nobody has.
    users = Path(task["users"]).open("ab")  # noqa: SIM115 - stays open as long as we live
    server = start(task["serve"])
    stopping = threading.Event()

    def stop(*_: object) -> None:
        stopping.set()
        server.send_signal(task["stop_signal"])

    def stop_when_unused() -> None:
        fcntl.flock(users, fcntl.LOCK_EX)
        _report("")
        stop()
        # The lock is kept until we are gone: who comes now waits, and then starts afresh.
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(_GRACE_SECONDS)
        server.kill()
        threading.Event().wait()

    signal.signal(signal.SIGTERM, stop)
    threading.Thread(target=stop_when_unused, daemon=True).start()
    status = server.wait()
    return "" if stopping.is_set() else f"{task['serve'][0]} ended with status {status}"


def _start(task: Task, log: Any, command: list[str]) -> "subprocess.Popen[bytes]":  # noqa: ANN401
    user, group = task["account"] or (None, None)
    return subprocess.Popen(  # noqa: S603 - the command is ours
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        cwd=task["directory"],
        user=user,
        group=group,
        extra_groups=None if group is None else [],
        umask=0o077,
        start_new_session=True,
        # Nothing else of ours runs in the child yet, and no thread runs in this process.
        preexec_fn=partial(_end_with_parent, task["stop_signal"]),  # noqa: PLW1509
    )


def _end_with_parent(stop_signal: int) -> None:
    """Have Linux stop the server if even this process is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, stop_signal)


def _tail(log: Path) -> str:
    try:
        return log.read_text(encoding="utf-8", errors="replace")[-_TAIL:].strip()
    except OSError:
        return ""


def _report(reason: str) -> None:
    """Tell whoever started us why we stop; they may be gone."""
    with contextlib.suppress(OSError):
        os.write(sys.stdout.fileno(), json.dumps(reason).encode() + b"\n")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
