"""The database of development."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dev_servers.postgresql import postgresql
from dev_servers.server import Server
from dev_servers.service import Service


@contextmanager
def development_server(given: str | None, directory: Path) -> Iterator[Server]:
    """Make sure that a database answers while the block runs; its data stay.

    Args:
        given: Address from the settings, if they name one.
        directory: Where the data stay if a server is started.

    Raises:
        ServerUnavailable: None is to be had.
    """
    with postgresql(
        given=given,
        given_by="APP_DATABASE__URL",
        directory=directory / "postgresql",
    ) as server:
        yield server


SERVICE = Service("APP_DATABASE__URL", development_server)
