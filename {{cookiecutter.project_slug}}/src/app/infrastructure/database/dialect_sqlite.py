"""What is particular to SQLite, and nothing else is."""

import asyncio
import re
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import aiosqlite
from sqlalchemy import Connection, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, DisconnectionError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from app.core.config import DatabaseSettings
from app.infrastructure.database.models import Base
from app.infrastructure.database.pool import FairPool

READ_OPTIONS: Final[dict[str, Any]] = {"begin": None}
"""For requests that only read: each statement stands for itself, without a transaction."""

SNAPSHOT_OPTIONS: Final[dict[str, Any]] = {"begin": "BEGIN"}
"""For long reads: all rows as of one moment; in WAL mode writers go on meanwhile."""

PING: Final = "SELECT count(*) FROM sqlite_schema"
"""Looks into the file, as `SELECT 1` does not."""

_AT_CONNECT: Final = (
    "PRAGMA journal_mode=WAL",  # readers and the one writer don't wait for each other
    "PRAGMA synchronous=NORMAL",  # safe with WAL but for the last moments before a power cut
    "PRAGMA foreign_keys=ON",
)
_LOCK_SECONDS: Final = 10.0
_ROWS_AT_ONCE: Final = 64  # of a cursor that is iterated over; the driver's own default
_CONSTRAINT_FAILED: Final = re.compile(r"(?P<kind>UNIQUE|CHECK) constraint failed: (?P<what>.+)")
_FOREIGN_KEY_FAILED: Final = "FOREIGN KEY constraint failed"
_INSERTED: Final = re.compile(r"INSERT INTO (?P<table>\w+)")
_UNAVAILABLE: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_INTERRUPT,
    }
)


def create_engine(settings: DatabaseSettings, *, pool_size: int) -> AsyncEngine:
    """Return an engine; nothing is opened before its first use.

    It makes no file: that is what migrations do. One that is gone, as behind a mount that failed,
    would else be replaced by one without any tables, in which nobody is known.

    Args:
        settings: The file, the pool and time limits.
        pool_size: Connections that the pool keeps.
    """
    url = make_url(settings.url.get_secret_value())
    path = Path(url.database or "").absolute()
    address = f"{path.as_uri()}?mode=rw"

    async def connect(_: str, **options: Any) -> aiosqlite.Connection:
        return await _connect(address, uri=True, **options)

    engine = create_async_engine(
        url,
        pool_size=pool_size,
        poolclass=FairPool,
        # The text of an error is shown and logged in places that know nothing of secrets.
        hide_parameters=True,
        max_overflow=settings.max_overflow,
        pool_timeout=settings.pool_timeout,
        pool_recycle=settings.pool_recycle,
        pool_pre_ping=settings.pool_pre_ping,
        connect_args={"async_creator_fn": connect, "timeout": settings.lock_timeout},
    )

    def connected(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        record.info["file"] = _identity(path)
        connection.isolation_level = None  # transactions are ours to begin, see below
        cursor = connection.cursor()
        for statement in _AT_CONNECT:
            cursor.execute(statement)
        cursor.close()
        # Its own knows ASCII alone, and a search is for all alphabets.
        cast("sqlite3.Connection", connection).create_function(
            "lower", 1, _lower, deterministic=True
        )

    def checked_out(_: DBAPIConnection, record: ConnectionPoolEntry, __: object) -> None:
        # What is written into a file that was moved or removed would be gone with it.
        if record.info["file"] != _identity(path):
            raise DisconnectionError("another file is in its place")

    def begun(connection: Connection) -> None:
        # A transaction that reads first and writes later could fail half-way, with another
        # writer in between; one that takes the write lock at once waits its turn instead.
        statement = connection.get_execution_options().get("begin", "BEGIN IMMEDIATE")
        if statement is not None:
            connection.exec_driver_sql(statement)

    event.listen(engine.sync_engine, "connect", connected)
    event.listen(engine.sync_engine, "checkout", checked_out)
    event.listen(engine.sync_engine, "begin", begun)
    return engine


def create_migration_engine(url: str) -> AsyncEngine:
    """Return an engine without a pool, and without enforced foreign keys.

    A table that can't be altered is copied and dropped, which must not cascade.
    """
    return create_async_engine(
        _with_directory(url),
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={"async_creator_fn": _connect, "timeout": _LOCK_SECONDS},
    )


def is_made(url: str) -> bool:
    """Tell whether there is a file yet: to ask what it was migrated to must not make an empty one.

    Args:
        url: Address of the database.
    """
    try:
        Path(make_url(url).database or "").stat()
    except FileNotFoundError:
        return False
    except OSError:
        return True  # whoever opens it is told what is wrong
    return True


def lock_migrations(connection: Connection) -> bool:
    """Keep others from migrating the database, or writing to it, while this transaction is open.

    Migrations happen in it: what fails half-way leaves nothing behind. Who comes second waits.

    Returns:
        That it worked; the driver raises an error when the wait takes too long.
    """
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    return True


def constraint_of(error: IntegrityError) -> str | None:
    """Return the name of the constraint that a statement violated.

    SQLite names the columns of a unique constraint, from which our naming convention gives the
    name of the constraint. Of a foreign key it says no more than that one is violated: which one is
    known if the row was to go into a table that has no other.
    """
    if str(error.orig) == _FOREIGN_KEY_FAILED:
        return _only_foreign_key(error.statement or "")
    match = _CONSTRAINT_FAILED.search(str(error.orig))
    if match is None:
        return None
    if match["kind"] == "CHECK":
        return match["what"]
    columns = [column.strip().split(".") for column in match["what"].split(",")]
    return "_".join(["uq", columns[0][0], *(column[-1] for column in columns)])


def _only_foreign_key(statement: str) -> str | None:
    """Return the name of the foreign key of the table that a statement inserts into."""
    match = _INSERTED.match(statement)
    table = Base.metadata.tables.get(match["table"]) if match else None
    names = [str(key.name) for key in table.foreign_key_constraints] if table is not None else []
    return names[0] if len(names) == 1 else None


def why_unavailable(error: DBAPIError) -> str | None:
    """Return what is wrong if the database is to blame, and another try may succeed."""
    code = getattr(error.orig, "sqlite_errorcode", 0)
    if error.connection_invalidated or code & 0xFF in _UNAVAILABLE:
        # Most errors are of one type; SQLite's own name tells a lock from a broken disk.
        return getattr(error.orig, "sqlite_errorname", type(error.orig).__name__)
    return None


def _with_directory(url: str) -> URL:
    """Return an address for whose file there is a directory."""
    parsed = make_url(url)
    if parsed.database is not None:
        # Others on the machine have no business there; one that is there stays as it is.
        Path(parsed.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return parsed


class _Connection(aiosqlite.Connection):
    """A connection that stops once.

    Who is cancelled while a connection is closed stops it, and so does the closing when it is done.
    The second time nobody answers any more, and what waits for it is a task that never ends.
    """

    def stop(self) -> "asyncio.Future[Any] | None":
        """End the thread, if it has not been told so already."""
        return super().stop() if self._running else None


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells the file in a place from any other, or nothing if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


async def _connect(database: str, **options: Any) -> aiosqlite.Connection:
    """Open a connection.

    If that fails, the thread that aiosqlite has for it is waited for: it still talks to the loop,
    which at the end of a command may be gone before it is.
    """
    connection = _Connection(partial(sqlite3.connect, database, **options), _ROWS_AT_ONCE)
    thread = connection._thread  # noqa: SLF001
    thread.daemon = True
    try:
        return await connection
    except BaseException as error:
        await asyncio.to_thread(thread.join)
        if isinstance(error, sqlite3.OperationalError):
            # The driver's words don't say which file can't be opened.
            error.args = (f"{error}: {database}",)
        raise


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()
