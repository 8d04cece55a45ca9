"""Real resources for one test, whose changes to the database are rolled back."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import copy

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, async_sessionmaker

from app.infrastructure.database import Database, Session
from app.infrastructure.limits import RateLimiter
from app.resources import Resources


class IsolatedDatabase(Database):
    """All units of work in one transaction, each behind a savepoint of its own.

    There is one connection, so a test whose requests run at once needs a database of its own.
    """

    def __init__(self, connection: AsyncConnection) -> None:
        super().__init__(connection.engine)
        self._sessions = async_sessionmaker(
            connection,
            class_=Session,
            expire_on_commit=False,
            join_transaction_mode="create_savepoint",
        )
        self._connection = connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        yield self._connection

    @asynccontextmanager
    async def search(self, seconds: float) -> AsyncIterator[AsyncConnection]:
        yield self._connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        yield self._connection


@asynccontextmanager
async def isolated(resources: Resources) -> AsyncIterator[Resources]:
    """Yield resources for one test: a rolled-back database, unused limits; jobs stay in it."""
    async with resources.database.writers.connect() as connection:
        transaction = await connection.begin()
        database = IsolatedDatabase(connection)
        # This transaction may hold the lock of the only writer.
        checks = [each for each in resources.health_checks if each.name != "database_writes"]
        try:
            yield replaced(
                resources,
                database=database,
                health_checks=tuple(checks),
                rate_limiter=RateLimiter(resources.settings.rate_limits),
            )
        finally:
            try:
                await transaction.rollback()
            except DBAPIError:
                # Somebody still uses it: one test has failed, and the next gets another one.
                await connection.invalidate()
                raise


def replaced(resources: Resources, **replacements: object) -> Resources:
    """Return resources with some replaced."""
    changed = copy(resources)
    for name, replacement in replacements.items():
        assert hasattr(changed, name)
        setattr(changed, name, replacement)
    return changed
