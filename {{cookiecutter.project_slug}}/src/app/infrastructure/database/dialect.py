"""What is particular to PostgreSQL, and nothing else is."""

import time
from typing import Any, Final

import asyncpg  # type: ignore[import-untyped]  # it has no types
from sqlalchemy import AdaptedConnection, Connection, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, DisconnectionError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from app.core.config import DatabaseSettings
from app.core.errors import DatabaseUnavailable
from app.infrastructure.database.pool import FairPool

READ_OPTIONS: Final[dict[str, Any]] = {"isolation_level": "AUTOCOMMIT"}
"""For requests that only read: no `BEGIN` and no `ROLLBACK` on the wire."""

SNAPSHOT_OPTIONS: Final[dict[str, Any]] = {
    "isolation_level": "REPEATABLE READ",
    "postgresql_readonly": True,
}
"""For long reads: all rows as of one moment, through a cursor of the server."""

PING: Final = "SELECT 1"
"""Whether it answers."""

_CONNECT_SECONDS: Final = 10.0
_IDLE_SECONDS: Final = 1.0
_MIGRATION_LOCK_SECONDS: Final = 10
_MIGRATION_LOCK: Final = 7_305_804_402_475_919_205  # of our choice, and the same in every process
_UNAVAILABLE: Final = frozenset(
    {
        "08",  # connection exception
        "53",  # insufficient resources, too many connections among them
        "57",  # operator intervention: shutdown, crash, statement time-out
        "40",  # transaction rollback: deadlock, serialization failure
        "25006",  # a replica was promoted away from under us: read-only transaction
        "55P03",  # lock not available
    }
)


def create_engine(settings: DatabaseSettings, *, pool_size: int) -> AsyncEngine:
    """Return an engine; nothing is connected before its first use.

    Args:
        settings: Address, pool and time limits.
        pool_size: Connections that the pool keeps.
    """
    limit_ms = int(settings.statement_timeout * 1000)

    async def connect(*arguments: Any, **options: Any) -> "asyncpg.Connection[asyncpg.Record]":
        try:
            return await asyncpg.connect(*arguments, **options)
        except (OSError, TimeoutError, asyncpg.PostgresError) as error:
            raise DatabaseUnavailable(reason=str(error)) from error

    engine = create_async_engine(
        settings.url.get_secret_value(),
        pool_size=pool_size,
        poolclass=FairPool,
        # The text of an error is shown and logged in places that know nothing of secrets.
        hide_parameters=True,
        max_overflow=settings.max_overflow,
        pool_timeout=settings.pool_timeout,
        pool_recycle=settings.pool_recycle,
        connect_args={
            "async_creator_fn": connect,
            "timeout": settings.connect_timeout,
            # The server ends a slow statement; this is for a server that no longer answers.
            "command_timeout": settings.statement_timeout + settings.connect_timeout,
            "server_settings": {
                "statement_timeout": str(limit_ms),
                "lock_timeout": str(int(settings.lock_timeout * 1000)),
                "idle_in_transaction_session_timeout": str(2 * limit_ms),
                # Compiling costs more than it gives for queries as short as ours.
                "jit": "off",
            },
        },
    )
    if settings.pool_pre_ping:
        _ping_idle_connections(engine, settings.connect_timeout)
    return engine


def create_migration_engine(url: str) -> AsyncEngine:
    """Return an engine without a pool, whose statements may take long: large tables exist.

    They may not wait long, though: whatever comes to a table after an `ALTER TABLE` that waits for
    it, waits as well.
    """
    return create_async_engine(
        url,
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={
            "timeout": _CONNECT_SECONDS,
            "server_settings": {"lock_timeout": f"{_MIGRATION_LOCK_SECONDS}s"},
        },
    )


def is_made(url: str) -> bool:  # noqa: ARG001 - the server knows
    """Tell whether there is a database at an address: if not, the server itself will say so."""
    return True


def lock_migrations(connection: Connection) -> bool:
    """Keep others from migrating the database while this connection is open.

    Returns:
        Whether that worked; if not, somebody else is migrating it. There is no waiting for them: to
        build an index concurrently is to wait for all who are at something, such as waiting.
    """
    statement = f"SELECT pg_try_advisory_lock({_MIGRATION_LOCK})"
    locked: bool = connection.exec_driver_sql(statement).scalar_one()
    # The lock is the connection's: Alembic begins, or does without, transactions of its own.
    connection.commit()
    return locked


def constraint_of(error: IntegrityError) -> str | None:
    """Return the name of the constraint that a statement violated."""
    cause = error.orig.__cause__ if error.orig is not None else None
    return getattr(cause, "constraint_name", None)


def why_unavailable(error: DBAPIError) -> str | None:
    """Return what is wrong if the database is to blame, and another try may succeed."""
    if error.connection_invalidated or is_outage(getattr(error.orig, "sqlstate", None)):
        return type(error.orig).__name__
    return None


def is_outage(state: str | None) -> bool:
    """Tell whether an SQLSTATE says that the database is to blame."""
    return state is not None and (state in _UNAVAILABLE or state[:2] in _UNAVAILABLE)


def _ping_idle_connections(engine: AsyncEngine, seconds: float) -> None:
    """Try a connection that has been idle before it is used again.

    SQLAlchemy's own pre-ping costs a round trip per request. A server that shuts down closes its
    sockets, which asyncpg notices by itself; what goes unnoticed needs idle time to happen.

    Args:
        engine: Whose connections.
        seconds: How long one may take to answer.
    """
    pool = engine.sync_engine.pool

    def checked_in(_: DBAPIConnection | None, entry: ConnectionPoolEntry) -> None:
        entry.info["idle_since"] = time.monotonic()

    def checked_out(connection: AdaptedConnection, entry: ConnectionPoolEntry, _: object) -> None:
        if connection.driver_connection.is_closed():
            raise DisconnectionError
        now = time.monotonic()
        if now - entry.info.get("idle_since", now) > _IDLE_SECONDS:
            try:
                connection.run_async(lambda driver: driver.fetchval("SELECT 1", timeout=seconds))
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                raise DisconnectionError from None

    event.listen(pool, "checkin", checked_in)
    event.listen(pool, "checkout", checked_out)
