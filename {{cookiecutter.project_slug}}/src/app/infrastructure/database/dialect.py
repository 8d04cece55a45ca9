"""PostgreSQL: engine, options, errors."""

import math
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg  # type: ignore[import-untyped]  # it has no types
from sqlalchemy import (
    AdaptedConnection,
    BigInteger,
    Connection,
    DateTime,
    Select,
    Table,
    event,
    func,
    literal,
    select,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import ExceptionContext, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, DisconnectionError, IntegrityError
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    create_async_engine,
)
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from app.core.config import DatabaseSettings
from app.core.errors import DatabaseUnavailable
from app.infrastructure.database.pool import FairPool
from app.infrastructure.database.statistics import record

insert: Final = postgresql.insert
"""The INSERT with `ON CONFLICT`."""

UtcDateTime: Final = DateTime(timezone=True)
"""A column type: `timestamptz`, which asyncpg returns aware, in UTC."""

WRITE_OPTIONS: Final[dict[str, Any]] = {"isolation_level": "READ COMMITTED"}
"""For transactions. Reads stay in autocommit: they send no `BEGIN` and `ROLLBACK`."""

SNAPSHOT_OPTIONS: Final[dict[str, Any]] = {
    "isolation_level": "REPEATABLE READ",
    "postgresql_readonly": True,
}
"""For long reads by a server-side cursor, which see all rows as of one moment."""

PING: Final = "SELECT 1"

STOPPED: Final = "QueryCanceledError"
"""The reason of `why_unavailable` if a statement took too long."""

_CONNECT_SECONDS: Final = 10.0
_IDLE_SECONDS: Final = 1.0
_MIGRATION_LOCK_SECONDS: Final = 10
_MIGRATION_LOCK: Final = 7_305_804_402_475_919_205  # arbitrary, the same in every process
_UNAVAILABLE: Final = frozenset(
    {
        "08",  # connection exception
        "53",  # insufficient resources, too many connections among them
        "57",  # operator intervention: shutdown, crash, statement time-out
        "40",  # transaction rollback: deadlock, serialization failure
        "25006",  # read-only transaction: a failover has made this server a replica
        "55P03",  # lock not available
    }
)


_ASYNCPG_ERRORS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


class DirectQuery:
    """A SELECT for the one statement that every request runs.

    The driver runs it without SQLAlchemy, for less than half of the CPU time. A statement with
    literals, or with types that need a conversion, runs through SQLAlchemy.
    """

    def __init__(self, statement: Select[*tuple[Any, ...]]) -> None:
        """Compile a statement."""
        dialect = make_url("postgresql+asyncpg://").get_dialect()()
        compiled: Any = statement.compile(dialect=dialect)
        self._statement = statement
        self._text: str = compiled.string
        self._names: list[str] = compiled.positiontup
        binds = [compiled.binds[name] for name in self._names]
        columns = [each.type.dialect_impl(dialect) for each in statement.selected_columns]
        self._is_direct = (
            all(each.required for each in binds)
            and not any(each.type.dialect_impl(dialect).bind_processor(dialect) for each in binds)
            and not any(each.result_processor(dialect, None) for each in columns)
        )

    async def first(
        self, connection: AsyncConnection | AsyncSession, **values: object
    ) -> Sequence[Any] | None:
        """Return the first row.

        Raises:
            DatabaseUnavailable: The database is unreachable or did not answer in time.
        """
        raw = connection.sync_connection if isinstance(connection, AsyncConnection) else None
        row: Sequence[Any] | None
        if raw is None or not self._is_direct:
            row = (await connection.execute(self._statement, values)).first()
            return row
        driver: Any = raw.connection.driver_connection
        started = time.perf_counter()
        try:
            row = await driver.fetchrow(self._text, *[values[name] for name in self._names])
        except asyncpg.PostgresError as error:
            if not _is_outage(error.sqlstate):
                raise
            raise DatabaseUnavailable(reason=type(error).__name__) from error
        except BaseException as error:
            # The result may still arrive, and must not reach the next user of the connection.
            raw.invalidate()
            if isinstance(error, asyncpg.InternalClientError):
                row = (await connection.execute(self._statement, values)).first()
                return row
            if isinstance(error, OSError | asyncpg.InterfaceError):
                raise DatabaseUnavailable(reason="no answer in time") from error
            raise
        finally:
            slow_seconds = raw.get_execution_options().get("slow_seconds", math.inf)
            record(self._text, time.perf_counter() - started, slow_seconds=slow_seconds)
        return row


def create_engine(settings: DatabaseSettings, *, pool_size: int) -> AsyncEngine:
    """Return an engine that connects on first use and runs statements in autocommit mode."""
    limit_ms = int(settings.statement_timeout * 1000)

    async def connect(*arguments: Any, **options: Any) -> "asyncpg.Connection[asyncpg.Record]":
        try:
            return await asyncpg.connect(*arguments, **options)
        except (OSError, TimeoutError, asyncpg.PostgresError) as error:
            raise DatabaseUnavailable(reason=str(error) or type(error).__name__) from error

    engine = create_async_engine(
        settings.url.get_secret_value(),
        # Reading connections need no option of their own, which costs time at each checkout.
        isolation_level="AUTOCOMMIT",
        execution_options={"slow_seconds": settings.slow_statement_ms / 1000},
        pool_size=pool_size,
        poolclass=FairPool,
        # Error texts are logged in places that do not redact secrets.
        hide_parameters=True,
        max_overflow=settings.max_overflow,
        pool_timeout=settings.pool_timeout,
        pool_recycle=settings.pool_recycle,
        connect_args={
            "async_creator_fn": connect,
            "timeout": settings.connect_timeout,
            # The server cancels a slow statement; this is for a server that no longer answers.
            "command_timeout": settings.statement_timeout + settings.connect_timeout,
            "server_settings": {
                "statement_timeout": str(limit_ms),
                "lock_timeout": str(int(settings.lock_timeout * 1000)),
                "idle_in_transaction_session_timeout": str(2 * limit_ms),
                # Compiling costs more than it saves on short queries.
                "jit": "off",
            },
        },
    )
    event.listen(engine.sync_engine, "handle_error", _drop_half_closed)
    if settings.pool_pre_ping:
        _ping_idle_connections(engine, settings.connect_timeout)
    return engine


def only_where(condition: str) -> dict[str, Any]:
    """Return the options of an index that only has the rows of a condition."""
    return {"postgresql_where": text(condition)}


def create_migration_engine(url: str) -> AsyncEngine:
    """Return an engine without a pool and without a limit on the time of a statement.

    Its wait for locks is short: an `ALTER TABLE` that waits for a table blocks all later queries.
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


def database_exists(url: str) -> bool:  # noqa: ARG001 - the server knows
    """Return True; connecting reports a database that does not exist."""
    return True


def lock_migrations(connection: Connection) -> bool:
    """Lock the database against other migrations while this connection is open.

    Returns:
        False if another process migrates it. Waiting could deadlock: `CREATE INDEX CONCURRENTLY`
        waits for every open transaction, this one included.
    """
    statement = f"SELECT pg_try_advisory_lock({_MIGRATION_LOCK})"
    locked: bool = connection.exec_driver_sql(statement).scalar_one()
    # The lock belongs to the connection, so Alembic is free to begin its own transactions.
    connection.commit()
    return locked


async def try_write(connection: AsyncConnection) -> None:
    """Check that the server accepts writes, unlike a standby.

    Raises:
        DatabaseUnavailable: It is read-only.
    """
    if await connection.scalar(text("SHOW transaction_read_only")) == "on":
        raise DatabaseUnavailable(reason="read-only")


async def try_lock(session: AsyncSession, number: int) -> bool:
    """Take a lock until the end of the transaction; return False at once if it is taken.

    Args:
        session: The transaction.
        number: An unsigned integer of 64 bits.
    """
    statement = select(func.pg_try_advisory_xact_lock(literal(number - 2**63, BigInteger())))
    return bool(await session.scalar(statement))


@asynccontextmanager
async def limited(connection: AsyncConnection, seconds: float) -> AsyncIterator[None]:
    """Limit the time of each statement until the end of the transaction."""
    limit = f"{math.ceil(seconds * 1000)}ms"
    await connection.execute(select(func.set_config("statement_timeout", limit, True)))
    yield


def constraint_of(
    error: IntegrityError,
    tables: Mapping[str, Table],  # noqa: ARG001 - the server names it
) -> str | None:
    """Return the name of the violated constraint."""
    cause = error.orig.__cause__ if error.orig is not None else None
    return getattr(cause, "constraint_name", None)


def why_unavailable(error: DBAPIError) -> str | None:
    """Return the reason if the database is unavailable and a retry may succeed."""
    cause = error.orig.__cause__ if error.orig is not None else None
    is_half_closed = isinstance(cause, asyncpg.InternalClientError)
    state = getattr(error.orig, "sqlstate", None)
    if error.connection_invalidated or is_half_closed or _is_outage(state):
        return type(cause or error.orig).__name__
    return None


def _is_outage(state: str | None) -> bool:
    return state is not None and (state in _UNAVAILABLE or state[:2] in _UNAVAILABLE)


def _drop_half_closed(context: ExceptionContext) -> None:
    """Drop a connection that the server has terminated, though its socket is still open."""
    if isinstance(context.original_exception.__cause__, asyncpg.InternalClientError):
        context.is_disconnect = True


def _ping_idle_connections(engine: AsyncEngine, seconds: float) -> None:
    """Ping connections that have been idle before they are used again.

    SQLAlchemy's own pre-ping costs a round trip per request. asyncpg notices sockets that a server
    closes; a connection that dies unnoticed does so while it is idle.
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
            except (OSError, TimeoutError, *_ASYNCPG_ERRORS):
                raise DisconnectionError from None

    event.listen(pool, "checkin", checked_in)
    event.listen(pool, "checkout", checked_out)
