"""S3, by moto, for tests: it has more of S3 than rclone, and checks no signatures."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from pathlib import Path

import httpx2
from moto.server import ThreadedMotoServer

from dev_servers.process import running
from dev_servers.s3 import BUCKET, server_at
from dev_servers.server import Server


def opened() -> AbstractContextManager[Server]:
    """Yield a server, which keeps its objects in memory."""
    return running("moto", None)


@contextmanager
def serve(home: Path, *, lasting: bool) -> Iterator[Server]:
    """Run a server that takes any keys."""
    del home, lasting
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    httpx2.put(f"{url}/{BUCKET}").raise_for_status()
    yield server_at(url, f"moto {version('moto')}", keys=("any", "any"))
    server.stop()
