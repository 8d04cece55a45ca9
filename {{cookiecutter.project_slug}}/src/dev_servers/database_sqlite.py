"""The database of development."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dev_servers.server import Server, ServerUnavailable
from dev_servers.service import Service


@contextmanager
def development_server(given: str | None, directory: Path) -> Iterator[Server]:
    """Make sure that there is a place for the database file; nothing needs to be started.

    Args:
        given: Address from the settings, if they name one.
        directory: Where the file is otherwise.

    Raises:
        ServerUnavailable: There is no place for it.
    """
    if given is None:
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ServerUnavailable(f"The database file has no place: {error}.") from error
        file = directory.resolve() / "app.db"
        yield Server("SQLite", f"sqlite+aiosqlite:///{file}", f"the file {directory / 'app.db'}")
    else:
        yield Server("SQLite", given, "APP_DATABASE__URL")


SERVICE = Service("APP_DATABASE__URL", development_server)
