"""Who runs the servers: we ourselves, but for root, as whom some refuse to run."""

import contextlib
import hashlib
import os
import pwd
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_STATE = Path("/var/lib/dev-servers")


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine in whose name root runs a server."""

    name: str
    uid: int
    gid: int

    def owns(self, path: Path) -> None:
        """Make a path this account's own."""
        os.chown(path, self.uid, self.gid)

    def reaches(self, path: Path) -> bool:
        """Whether this account may enter a directory."""
        return run_as(self, ["/bin/sh", "-c", 'cd "$1"', "sh", str(path)]) is not None


def run_as(account: Account | None, command: Sequence[str]) -> str | None:
    """What a command prints when it is run by an account; None if it can't be run, or fails."""
    try:
        finished = subprocess.run(  # noqa: S603 - the command is ours
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
            cwd="/",
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return finished.stdout.strip()


def account_for(home: Path | None, usual: str = "nobody") -> Account | None:
    """Who shall run a server: None for ourselves, unless we are root.

    In place of root it is whoever owns the data, or the directory that they go to, so that root
    leaves nothing of its own among somebody's files; else a system user without rights.

    Args:
        home: Directory of the data, which need not exist yet; None if they don't last.
        usual: The name under which packages of the system run such a server.
    """
    if os.geteuid() != 0:
        return None
    if home is not None:
        there = next(path for path in (home, *home.absolute().parents) if path.exists())
        with contextlib.suppress(KeyError):
            if owner := there.stat().st_uid:
                return _account(pwd.getpwuid(owner))
    with contextlib.suppress(KeyError):
        return _account(pwd.getpwnam(usual))
    return _account(pwd.getpwnam("nobody"))


def home_for(directory: Path, account: Account | None) -> Path:
    """Make the directory of data that last; elsewhere if the account can't enter it there.

    A project below `/root` is such a case: its data go to `/var/lib`, under a name made of the
    project's path, and the directory becomes a link to them.

    Raises:
        OSError: It can't be made.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    if account is None:
        directory.mkdir(exist_ok=True, mode=0o700)
        return directory.resolve()
    with contextlib.suppress(OSError):
        directory.mkdir(exist_ok=True, mode=0o700)
        account.owns(directory)
        if account.reaches(directory.resolve()):
            return directory.resolve()
    project = directory.absolute().parent.parent
    digest = hashlib.sha256(os.fsencode(directory.absolute())).hexdigest()[:12]
    elsewhere = _STATE / f"{project.name}-{digest}"
    elsewhere.mkdir(parents=True, exist_ok=True, mode=0o700)
    _STATE.chmod(0o755)
    account.owns(elsewhere)
    with contextlib.suppress(OSError):
        directory.rmdir()
        directory.symlink_to(elsewhere)
    return elsewhere


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
