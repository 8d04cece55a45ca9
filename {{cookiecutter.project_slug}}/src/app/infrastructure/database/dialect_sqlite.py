"""SQLite: engine, options, errors."""

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import aiosqlite
from sqlalchemy import Connection, DateTime, Dialect, Select, Table, UniqueConstraint, event, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, DisconnectionError, IntegrityError
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    create_async_engine,
)
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, PoolProxiedConnection
from sqlalchemy.types import TypeDecorator
from sqlalchemy.util import await_only

from app.core.config import DatabaseSettings
from app.core.errors import DatabaseUnavailable
from app.infrastructure.database.pool import FairPool

insert: Final = sqlite.insert
"""The INSERT with `ON CONFLICT`."""

WRITE_OPTIONS: Final[dict[str, Any]] = {"begin": "BEGIN IMMEDIATE"}
"""For transactions. One that reads before it writes could fail after another writer's commit; one
that takes the write lock at once waits for its turn."""

SNAPSHOT_OPTIONS: Final[dict[str, Any]] = {"begin": "BEGIN"}
"""For long reads, which see all rows as of one moment; in WAL mode they block no writer."""

PING: Final = "SELECT count(*) FROM sqlite_schema"
"""Reads the file, unlike `SELECT 1`."""

STOPPED: Final = "SQLITE_INTERRUPT"
"""The reason of `why_unavailable` if a statement took too long."""

_AT_CONNECT: Final = (
    "PRAGMA journal_mode=WAL",  # readers and the writer don't block each other
    "PRAGMA synchronous=NORMAL",  # with WAL, a power cut loses the last commits at most
    "PRAGMA foreign_keys=ON",
)
_LOCK_SECONDS: Final = 10.0
_INTERRUPT_SECONDS: Final = 0.1
_ROWS_AT_ONCE: Final = 64  # of a cursor, the driver's default
_CONSTRAINT_FAILED: Final = re.compile(r"(?P<kind>UNIQUE|CHECK) constraint failed: (?P<name>.+)")
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


class UtcDateTime(TypeDecorator[datetime]):
    """A moment, stored in UTC and returned aware: SQLite has no time zones."""

    impl = DateTime
    cache_ok = True

    @property
    def python_type(self) -> type[datetime]:
        """Return the type of its values, which cursors of lists are checked against."""
        return datetime

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the moment in UTC, as it is stored.

        Raises:
            ValueError: The moment has no time zone.
        """
        if value is None:
            return None
        if value.utcoffset() is None:
            raise ValueError("a moment needs a time zone")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the stored moment, aware."""
        return None if value is None else value.replace(tzinfo=UTC)


class DirectQuery:
    """A SELECT for the one statement that every request runs."""

    def __init__(self, statement: Select[*tuple[Any, ...]]) -> None:
        """Run this statement."""
        self._statement = statement

    async def first(
        self, connection: AsyncConnection | AsyncSession, **values: object
    ) -> Sequence[Any] | None:
        """Return the first row."""
        row: Sequence[Any] | None = (await connection.execute(self._statement, values)).first()
        return row


def create_engine(settings: DatabaseSettings, *, pool_size: int) -> AsyncEngine:
    """Return an engine that connects on first use and runs statements in autocommit mode.

    Only migrations create the file: after a failed mount, an empty one must not take its place.
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
        # Error texts are logged in places that do not redact secrets.
        hide_parameters=True,
        max_overflow=settings.max_overflow,
        pool_timeout=settings.pool_timeout,
        pool_recycle=settings.pool_recycle,
        pool_pre_ping=settings.pool_pre_ping,
        connect_args={"async_creator_fn": connect, "timeout": settings.lock_timeout},
    )

    def connected(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        record.info["file"] = _identity(path)
        connection.isolation_level = None  # `begun` begins transactions, not the driver
        cursor = connection.cursor()
        for statement in _AT_CONNECT:
            cursor.execute(statement)
        cursor.close()
        # SQLite's own function only handles ASCII; searches must handle all alphabets.
        cast("sqlite3.Connection", connection).create_function(
            "lower", 1, _lower, deterministic=True
        )

    def checked_out(_: DBAPIConnection, record: ConnectionPoolEntry, __: object) -> None:
        # Writes to a file that was moved or removed would be lost.
        if record.info["file"] != _identity(path):
            raise DisconnectionError("the database file was replaced")

    def begun(connection: Connection) -> None:
        statement = connection.get_execution_options().get("begin")
        if statement == WRITE_OPTIONS["begin"]:
            turns.take(connection.connection)
        if statement is not None:
            connection.exec_driver_sql(statement)

    turns = _WriterTurns(settings.lock_timeout)
    event.listen(engine.sync_engine, "connect", connected)
    event.listen(engine.sync_engine, "checkout", checked_out)
    event.listen(engine.sync_engine, "begin", begun)
    event.listen(engine.sync_engine, "checkin", turns.pass_on)
    return engine


def only_where(condition: str) -> dict[str, Any]:
    """Return the options of an index that only has the rows of a condition."""
    return {"sqlite_where": text(condition)}


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


def database_exists(url: str) -> bool:
    """Return whether the file exists: reading its revision must not create it."""
    try:
        Path(make_url(url).database or "").stat()
    except FileNotFoundError:
        return False
    except OSError:
        return True  # opening it reports the error
    return True


def lock_migrations(connection: Connection) -> bool:
    """Lock the database against other writers until this transaction ends, migrations included.

    Returns:
        True; the driver raises an error if the wait takes too long.
    """
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    return True


async def try_write(connection: AsyncConnection) -> None:
    """Commit a change to the file: one that is rolled back never meets a full disk.

    Raises:
        DatabaseUnavailable: The disk is full or read-only, or the file is locked.
    """
    await connection.execute(text("PRAGMA user_version = 1"))


async def try_lock(session: AsyncSession, number: int) -> bool:  # noqa: ARG001 - nothing to lock
    """Return True: a transaction is the only writer."""
    return True


@asynccontextmanager
async def limited(connection: AsyncConnection, seconds: float) -> AsyncIterator[None]:
    """Interrupt the statements that are running after this time."""
    driver = (await connection.get_raw_connection()).driver_connection
    interrupt = cast("aiosqlite.Connection", driver)._conn.interrupt  # noqa: SLF001 - not a coroutine
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    def interrupt_repeatedly() -> None:
        nonlocal timer
        interrupt()
        # Without effect on a statement that is about to start.
        timer = loop.call_later(_INTERRUPT_SECONDS, interrupt_repeatedly)

    timer = loop.call_later(seconds, interrupt_repeatedly)
    try:
        yield
    finally:
        timer.cancel()


def constraint_of(error: IntegrityError, tables: Mapping[str, Table]) -> str | None:
    """Return the name of the violated constraint.

    For a unique constraint, SQLite reports the columns. For a foreign key it reports nothing: the
    name is known only if an INSERT failed into a table with a single foreign key.
    """
    if str(error.orig) == _FOREIGN_KEY_FAILED:
        match = _INSERTED.match(error.statement or "")
        table = tables.get(match["table"]) if match else None
        keys = () if table is None else table.foreign_key_constraints
        return str(next(iter(keys)).name) if len(keys) == 1 else None
    match = _CONSTRAINT_FAILED.search(str(error.orig))
    if match is None:
        return None
    if match["kind"] == "CHECK":
        return match["name"]
    found = [column.strip().split(".") for column in match["name"].split(",")]
    name, columns = found[0][0], [column[-1] for column in found]
    for each in tables[name].constraints if name in tables else ():
        if isinstance(each, UniqueConstraint) and each.columns.keys() == columns:
            return str(each.name)
    return "_".join(["uq", name, *columns])


def why_unavailable(error: DBAPIError) -> str | None:
    """Return the reason if the database is unavailable and a retry may succeed."""
    code = getattr(error.orig, "sqlite_errorcode", 0)
    if error.connection_invalidated or code & 0xFF in _UNAVAILABLE:
        # Most errors share a type; SQLite's name tells a lock from a broken disk.
        return getattr(error.orig, "sqlite_errorname", type(error.orig).__name__)
    return None


def _with_directory(url: str) -> URL:
    """Create the directory of the file, and return the address."""
    parsed = make_url(url)
    if parsed.database is not None:
        # Private to the service's user; an existing directory keeps its mode.
        Path(parsed.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return parsed


class _Connection(aiosqlite.Connection):
    """A connection that is stopped once, and always closed.

    In aiosqlite, a cancelled close stops the connection, and stops it again when it ends: that
    would wait forever, as the thread has ended. After a cancelled connect, the file that the thread
    has opened stays open.
    """

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        self._opened: sqlite3.Connection | None = None

        def connect() -> sqlite3.Connection:
            self._opened = connector()
            return self._opened

        super().__init__(connect, _ROWS_AT_ONCE)

    def stop(self) -> "asyncio.Future[Any] | None":
        """Close the connection and stop the thread, unless it was stopped before."""
        if not self._running:
            return None
        self._tx.put_nowait((None, self._close))
        return super().stop()

    def _close(self) -> None:
        if self._opened is not None:
            self._opened.close()


class _WriterTurns:
    """Lets the writers of this process ask for the write lock in order of arrival.

    SQLite lets them poll: late ones overtake those that wait, until these fail.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = asyncio.Lock()
        self._writer: object = None

    def take(self, connection: PoolProxiedConnection) -> None:
        """Wait for the turn of a connection, which lasts until it is back in the pool."""
        if self._writer is connection.record_info:
            return
        try:
            await_only(asyncio.wait_for(self._lock.acquire(), self._seconds))
        except TimeoutError:
            raise DatabaseUnavailable(reason="SQLITE_BUSY") from None
        self._writer = connection.record_info

    def pass_on(self, _: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
        """End the turn of a connection, if it has it."""
        if self._writer is record.record_info:
            self._writer = None
            self._lock.release()


def _identity(path: Path) -> tuple[int, int] | None:
    """Return device and inode of a file, or `None` if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


async def _connect(database: str, **options: Any) -> aiosqlite.Connection:
    """Open a connection.

    If that fails, wait for the thread that aiosqlite has started: it would call the loop after a
    command has closed it.
    """
    connection = _Connection(partial(sqlite3.connect, database, **options))
    thread = connection._thread  # noqa: SLF001
    thread.daemon = True
    try:
        return await connection
    except BaseException as error:
        await asyncio.to_thread(thread.join)
        if isinstance(error, sqlite3.OperationalError):
            # The driver's message does not name the file.
            error.args = (f"{error}: {database}",)
        raise


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()
