"""What becomes of development's servers when those who use them end."""

import fcntl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_USER = """
import sys
from dev_servers.{server} import {server}
with {server}(given=None, given_by="", directory=None) as found:
    print(found.url, flush=True)
    sys.stdin.read()
"""


@contextmanager
def ending(scratch: Path) -> Iterator[None]:
    """Wait afterwards until the supervisor is gone: it holds this lock all its life.

    The file is opened before: it is not the last thing that the supervisor removes.
    """
    with (scratch / "alive").open("rb") as alive:
        yield
        fcntl.flock(alive, fcntl.LOCK_EX)


def left_by_killed_user(server: str, scratch_of: Callable[[str], Path]) -> Path:
    """Have a process start a throw-away server, kill it, and wait until the supervisor is gone.

    Args:
        server: The module of the server, and its function.
        scratch_of: Gives the scratch directory of a server by its address.

    Returns:
        The scratch directory that the server had.
    """
    with subprocess.Popen(  # noqa: S603 - our own words
        [sys.executable, "-c", _USER.format(server=server)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as user:
        assert user.stdout is not None
        scratch = scratch_of(user.stdout.readline().strip())
        with ending(scratch):
            user.kill()
    return scratch
