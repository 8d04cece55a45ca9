"""The process that keeps a worker beside `app dev`; it imports nothing of the service itself."""

import multiprocessing
import pkgutil
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

import watchfiles

from app.cli.output import say
from app.cli.processes import end_with_parent

SOURCE: Final = Path(__file__).parents[1]
WORK: Final = "app.cli.companions.work"

_MILLISECONDS_TO_LOOK: Final = 500
_SECONDS_TO_STOP: Final = 5.0


def keep(*, reload: bool) -> None:
    """Do jobs in a further process, and start that again when it is killed.

    Args:
        reload: Whether to start it again whenever a source file changes, too.
    """
    end_with_parent()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Ctrl-C comes twice: from the terminal, and from whoever started us.
    with suppress(KeyboardInterrupt):
        _keep(_started, reload=reload)


def do(what: str) -> None:
    """Call what has this name; only now is it imported, with all that it stands on."""
    pkgutil.resolve_name(what)()


def stop(process: BaseProcess, seconds: float) -> None:
    """End a process: by SIGTERM, and if it has not ended in time, by SIGKILL."""
    process.terminate()
    process.join(seconds)
    process.kill()
    process.join()


def _keep(start: Callable[[], BaseProcess], *, reload: bool) -> None:
    process, is_told = start(), False
    try:
        for changed in _looks(reload=reload):
            killed_by = -(process.exitcode or 0)
            if changed:
                stop(process, _SECONDS_TO_STOP)
                process, is_told = start(), False
            elif killed_by > 0:
                say(f"The worker was killed by {signal.Signals(killed_by).name}: another starts.")
                process = start()
            elif process.exitcode is not None and not is_told:
                # It would end again, for the same reason, until something changes.
                say("The worker has ended; its log says why.")
                is_told = True
                if not reload:
                    return
    finally:
        stop(process, _SECONDS_TO_STOP)


def _looks(*, reload: bool) -> Iterator[bool]:
    """Come back now and then, and tell whether a source file has changed since."""
    for changes in watchfiles.watch(
        SOURCE,
        watch_filter=watchfiles.PythonFilter() if reload else _nothing,
        rust_timeout=_MILLISECONDS_TO_LOOK,
        yield_on_timeout=True,
    ):
        yield bool(changes)


def _nothing(change: watchfiles.Change, path: str) -> bool:
    """Whether a change counts, where none does."""
    del change, path
    return False


def _started() -> BaseProcess:
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=do, args=(WORK,), name="worker")
    process.start()
    return process
