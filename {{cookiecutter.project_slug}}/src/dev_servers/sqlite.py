"""SQLite: a file, for which nothing is started."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from dev_servers.server import Server, ServerUnavailable

NAME: Final = "SQLite"
VARIABLE: Final = "APP_DATABASE__URL"


@contextmanager
def opened(directory: Path) -> Iterator[Server]:
    """Yield the address of a file in a directory that only its owner enters.

    Raises:
        ServerUnavailable: The directory can't be made.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ServerUnavailable(f"Can't create the directory of SQLite: {error}.") from error
    file = directory / "app.db"
    source = f"SQLite {sqlite3.sqlite_version}, the file {file}"
    yield Server(f"sqlite+aiosqlite:///{file.resolve()}", source)
