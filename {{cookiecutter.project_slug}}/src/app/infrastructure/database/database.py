"""Access to the database: sessions for writing, connections for reading."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import cast

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker

from app.core.config import DatabaseSettings
from app.core.errors import DatabaseUnavailable, SearchTooSlow
from app.core.ports import Measurement
from app.infrastructure.database.dialect import (
    PING,
    SNAPSHOT_OPTIONS,
    STOPPED,
    WRITE_OPTIONS,
    create_engine,
    limited,
    try_write,
)
from app.infrastructure.database.errors import translate_errors, translated_errors
from app.infrastructure.database.pool import FairPool
from app.infrastructure.database.statistics import time_statements

AfterCommit = Callable[[], Awaitable[None]]

logger = structlog.stdlib.get_logger(__name__)


class Session(AsyncSession):
    """A session that runs actions after its commit.

    Jobs, mails and events requested in a transaction wait here; a rollback drops them.
    """

    def after_commit(self, action: AfterCommit) -> None:
        """Run an action after the commit, in the order of calls."""
        self.info.setdefault("after_commit", []).append(action)


class Database:
    """Opens transactions, reads and snapshots on one engine.

    Each raises `DatabaseUnavailable` if the database is unreachable or does not answer in time.
    Never open one inside another: if every request holds a connection and waits for a second one,
    the pool deadlocks.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        probes: AsyncEngine | None = None,
        snapshots: int = 1,
        snapshot_seconds: float = 600.0,
        wait_seconds: float = 5.0,
    ) -> None:
        """Use this engine, which the caller disposes of.

        Args:
            engine: Runs each statement in autocommit mode.
            probes: The engine of health checks; by default, the same.
            snapshots: Limit of concurrent snapshots.
            snapshot_seconds: Time limit of a snapshot.
            wait_seconds: Time limit of waiting for a snapshot.
        """
        self.engine = engine
        self._probes = probes or engine
        self.writers = engine.execution_options(**WRITE_OPTIONS)
        self._snapshots = engine.execution_options(**SNAPSHOT_OPTIONS)
        self._free_snapshots = asyncio.Semaphore(snapshots)
        self._snapshot_seconds = snapshot_seconds
        self._wait_seconds = wait_seconds
        self._sessions = async_sessionmaker(self.writers, class_=Session, expire_on_commit=False)

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: DatabaseSettings, *, pool_size: int) -> AsyncIterator["Database"]:
        """Yield a database that connects on first use, and close it afterwards."""
        engine = create_engine(settings, pool_size=pool_size)
        # A pool in use must not look like a database that is down. Reads and writes have a
        # connection each: either may hang.
        probes = create_engine(settings, pool_size=2)
        time_statements(engine, slow_seconds=settings.slow_statement_ms / 1000)
        for each in (engine, probes):
            translate_errors(each)
        try:
            yield cls(
                engine,
                probes=probes,
                # Slow readers must leave connections to all others.
                snapshots=max(1, pool_size // 4),
                snapshot_seconds=settings.snapshot_timeout,
                wait_seconds=settings.pool_timeout,
            )
        finally:
            await probes.dispose()
            await engine.dispose()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session]:
        """Yield a session for writing: committed at the end, rolled back on any error."""
        with translated_errors():
            async with self._sessions() as session:
                async with session.begin():
                    yield session
                actions: list[AfterCommit] = session.info.pop("after_commit", [])
        # In order: one may depend on another. The commit is final, even if an action fails.
        for action in actions:
            try:
                await action()
            except Exception:
                logger.exception("action after commit failed")

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection for reading; its statements run without a transaction."""
        with translated_errors():
            async with self.engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def search(self, seconds: float) -> AsyncIterator[AsyncConnection]:
        """Yield a connection for reading, in a transaction with a time limit for statements.

        Raises:
            SearchTooSlow: A statement was stopped.
        """
        try:
            with translated_errors():
                async with self._snapshots.connect() as connection, limited(connection, seconds):
                    yield connection
        except DatabaseUnavailable as error:
            if error.context.get("reason") == STOPPED:
                raise SearchTooSlow(seconds) from error
            raise

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection for a long read, which sees all rows as of one moment.

        Raises:
            DatabaseUnavailable: Too many snapshots are open, or the database is unavailable.
            TimeoutError: The snapshot took too long.
        """
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._free_snapshots.acquire()
        except TimeoutError:
            raise DatabaseUnavailable(reason="all snapshots are in use") from None
        try:
            async with asyncio.timeout(self._snapshot_seconds):
                with translated_errors():
                    async with self._snapshots.connect() as connection:
                        yield connection
        finally:
            self._free_snapshots.release()

    def measure(self) -> Iterator[Measurement]:
        """Measure the pool."""
        pool = cast("FairPool", self.engine.pool)
        connections = "db_client_connection"
        for state, number in (("used", pool.checkedout()), ("idle", pool.checkedin())):
            description = "Connections of the pool."
            yield Measurement(f"{connections}_count", description, number, {"state": state})
        yield Measurement(f"{connections}_max", "Size of the pool.", pool.size())
        description = "Requests that wait for a connection of the pool."
        yield Measurement(f"{connections}_pending_requests", description, pool.waiting)

    async def ping(self) -> None:
        """Query the database."""
        async with self._probes.connect() as connection:
            await connection.execute(text(PING))

    async def try_write(self) -> None:
        """Check that the database accepts writes."""
        async with self._probes.connect() as connection:
            await try_write(connection)
