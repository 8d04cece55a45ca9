"""Units of work: how code gets at the database."""

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, async_sessionmaker

from app.config import Settings
from app.core.errors import DatabaseUnavailable
from app.core.health import HealthCheck
from app.infrastructure.database.dialect import (
    PING,
    READ_OPTIONS,
    SNAPSHOT_OPTIONS,
    create_engine,
)
from app.infrastructure.database.errors import translate_errors, translated_errors
from app.infrastructure.database.lookups import DirectLookups
from app.infrastructure.database.session import Session
from app.infrastructure.database.statements import Row, Statement, Values
from app.infrastructure.database.statistics import StatementLog, count_statements

logger = structlog.stdlib.get_logger(__name__)


class Database:
    """Opens units of work on one engine.

    No caller holds two of them at once: a pool in which each request waits for its second
    connection while it keeps its first is a deadlock.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        snapshots: int = 1,
        snapshot_seconds: float = 600.0,
        wait_seconds: float = 5.0,
        slow_seconds: float = math.inf,
    ) -> None:
        """Work on this engine; whoever made it disposes of it.

        Args:
            engine: The connections.
            snapshots: How many of them long reads may hold at once.
            snapshot_seconds: How long one of these may hold its connection.
            wait_seconds: How long another one waits for its turn.
            slow_seconds: From here on the statement of a lookup is logged.
        """
        self.engine = engine
        self._free_snapshots = asyncio.Semaphore(snapshots)
        self._snapshot_seconds = snapshot_seconds
        self._wait_seconds = wait_seconds
        self._sessions = async_sessionmaker(engine, class_=Session, expire_on_commit=False)
        self._readers = engine.execution_options(**READ_OPTIONS)
        self._snapshots = engine.execution_options(**SNAPSHOT_OPTIONS)
        self.health_checks = (HealthCheck("database", self.ping, required=True),)
        self._lookups = DirectLookups(engine, StatementLog(slow_seconds))

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings) -> AsyncIterator["Database"]:
        """Yield a database that connects when it is first used, and close it afterwards."""
        engine = create_engine(settings.database, pool_size=settings.database_pool_size)
        slow_seconds = settings.database.slow_statement_ms / 1000
        count_statements(engine, StatementLog(slow_seconds))
        translate_errors(engine)
        try:
            yield cls(
                engine,
                # Clients that read slowly must not keep everybody else from the database.
                snapshots=max(1, settings.database_pool_size // 4),
                snapshot_seconds=settings.database.snapshot_timeout,
                wait_seconds=settings.database.pool_timeout,
                slow_seconds=slow_seconds,
            )
        finally:
            await engine.dispose()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session]:
        """Yield a session for writing: committed at the end, rolled back on any error.

        Raises:
            DatabaseUnavailable: The database can't be reached or did not answer in time.
            Conflict: What was written contradicts what is stored.
        """
        with translated_errors():
            async with self._sessions() as session:
                async with session.begin():
                    yield session
                actions = session.take_after_commit()
        # In order: one may follow from another. The commit stands, whatever becomes of them.
        for action in actions:
            try:
                await action()
            except Exception:
                logger.exception("action after commit failed")

    async def fetch(self, statement: Statement, values: Values) -> Sequence[Row]:
        """Return the rows that a statement selects, by the shortest way there is.

        Raises:
            DatabaseUnavailable: The database can't be reached or did not answer in time.
        """
        with translated_errors():
            return await self._lookups.fetch(statement, values)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection for reading, without a transaction around its statements.

        Raises:
            DatabaseUnavailable: The database can't be reached or did not answer in time.
        """
        with translated_errors():
            async with self._readers.connect() as connection:
                yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection for a long read, which sees all rows as of one moment.

        Raises:
            DatabaseUnavailable: The database can't be reached or did not answer in time, or as
                many long reads are under way as may be.
            TimeoutError: The reader took too long.
        """
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._free_snapshots.acquire()
        except TimeoutError:
            raise DatabaseUnavailable(reason="all long reads are taken") from None
        try:
            async with asyncio.timeout(self._snapshot_seconds):
                with translated_errors():
                    async with self._snapshots.connect() as connection:
                        yield connection
        finally:
            self._free_snapshots.release()

    async def ping(self) -> None:
        """Pass if the database answers.

        Raises:
            DatabaseUnavailable: It doesn't.
        """
        async with self.read() as connection:
            await connection.execute(text(PING))
