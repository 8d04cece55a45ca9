"""Behaviour specific to PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any
from unittest.mock import AsyncMock

import asyncpg  # type: ignore[import-untyped]  # it has no types
import httpx2
import pytest
from sqlalchemy import (
    Dialect,
    Double,
    String,
    TypeDecorator,
    bindparam,
    cast,
    column,
    func,
    select,
    table,
    text,
)
from sqlalchemy.exc import DBAPIError

from app.config import Settings
from app.core.errors import DatabaseUnavailable
from app.core.ids import new_id
from app.infrastructure.database import Database, dialect, migrations
from app.infrastructure.database.dialect import (
    DirectQuery,
    create_migration_engine,
    lock_migrations,
    try_lock,
)
from app.infrastructure.database.migrations import MigrationError
from tests.support.arrange import Arrange
from tests.support.models import measure, open_database
from tests.support.things import CREATE_TABLE, THINGS, Thing, Things
from tests.support.waiting import PATIENCE, eventually

_SLEEP = select(func.pg_sleep(bindparam("seconds", type_=Double)))
_DIRECT = DirectQuery(_SLEEP)


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """The database of all tests, for those that store nothing."""
    async with open_database(settings) as database:
        yield database


async def test_a_connection_has_the_limits_of_the_settings(
    make_settings: Callable[..., Settings], database_url: str
) -> None:
    expected = {
        "statement_timeout": "7s",
        "lock_timeout": "1500ms",
        "idle_in_transaction_session_timeout": "14s",
        "jit": "off",
    }
    limits = {"statement_timeout": 7, "lock_timeout": 1.5}
    settings = make_settings(database_url, database=limits)
    async with open_database(settings) as database, database.read() as connection:
        shown = {name: (await connection.scalars(text(f"SHOW {name}"))).one() for name in expected}

    assert shown == expected


class TestMigrations:
    async def test_are_refused_while_another_runs_and_wait_for_no_table(
        self, own_database_url: str
    ) -> None:
        engine = create_migration_engine(own_database_url)
        async with engine.connect() as connection:
            assert (await connection.scalars(text("SHOW lock_timeout"))).one() == "10s"
            assert await connection.run_sync(lock_migrations)
            with pytest.raises(MigrationError, match="Another process"):
                await asyncio.to_thread(migrations.upgrade, own_database_url)
        await engine.dispose()

        await asyncio.to_thread(migrations.upgrade, own_database_url)


class TestUnitsOfWork:
    @pytest.mark.parametrize(
        ("unit", "state"),
        [("read", "idle"), ("snapshot", "idle in transaction")],
    )
    async def test_open_a_transaction_only_where_one_is_needed(
        self, database: Database, unit: str, state: str
    ) -> None:
        async with getattr(database, unit)() as connection:
            process = (await connection.scalars(text("SELECT pg_backend_pid()"))).one()
            async with database.read() as other:
                found = await other.scalars(
                    text("SELECT state FROM pg_stat_activity WHERE pid = :pid"), {"pid": process}
                )

        assert found.one() == state

    async def test_write_nothing_in_a_snapshot(self, database: Database) -> None:
        async with database.snapshot() as connection:
            with pytest.raises(DatabaseUnavailable):
                await connection.execute(text("DELETE FROM users"))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        pytest.param("postgresql+asyncpg://app@/app?host=/nowhere", "", id="no socket"),
        pytest.param("postgresql+asyncpg://app@127.0.0.1:1/app", "", id="no server"),
        pytest.param(None, "does not exist", id="no database"),
    ],
)
async def test_a_failed_connection_gives_its_reason(
    make_settings: Callable[..., Settings], database_url: str, url: str | None, reason: str
) -> None:
    url = url or database_url.replace("/apptest_", "/not_there_")
    async with open_database(make_settings(url)) as database:
        with pytest.raises(DatabaseUnavailable) as refused:
            await database.ping()

    assert reason in str(refused.value.context["reason"])


class TestLocks:
    async def test_are_refused_at_once_until_the_transaction_ends(self, database: Database) -> None:
        last = 2**64 - 1
        async with database.transaction() as first, database.transaction() as second:
            assert await try_lock(first, last)
            assert not await try_lock(second, last)
            assert await try_lock(second, 0)
        async with database.transaction() as third:
            assert await try_lock(third, last)

    async def test_refuse_a_concurrent_duplicate_of_a_request(
        self,
        own_client: httpx2.AsyncClient,
        arrange_own: Arrange,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        await arrange_own.execute(CREATE_TABLE)
        headers = (await arrange_own.account()).headers | {"Idempotency-Key": new_id().hex}
        under_way, may_end = asyncio.Event(), asyncio.Event()
        create = Things.create

        async def slow(service: Things, *args: Any) -> Any:
            thing = await create(service, *args)
            under_way.set()
            await may_end.wait()
            return thing

        monkeypatch.setattr(Things, "create", slow)
        async with asyncio.timeout(PATIENCE):
            first = asyncio.create_task(
                own_client.post(THINGS, json={"title": "A"}, headers=headers)
            )
            await under_way.wait()
            second = await own_client.post(THINGS, json={"title": "A"}, headers=headers)
            may_end.set()
            assert (await first).status_code == 201
        assert (second.status_code, second.json()["code"]) == (409, "idempotency_key_in_use")
        assert second.headers["retry-after"] == "1"
        assert await arrange_own.rows(select(Thing.title)) == [("A",)]


class TestIdleConnections:
    @pytest.fixture(autouse=True)
    def _idle_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(dialect, "_IDLE_SECONDS", 0.0)

    @pytest.mark.parametrize("error", [None, OSError("gone"), TimeoutError()])
    async def test_are_replaced_if_they_do_not_answer_a_ping(
        self, database: Database, monkeypatch: pytest.MonkeyPatch, error: Exception | None
    ) -> None:
        ping = AsyncMock(side_effect=error)
        monkeypatch.setattr(asyncpg.Connection, "fetchval", ping)
        before = await backend_of(database)

        after = await backend_of(database)

        ping.assert_awaited()
        assert (after == before) is (error is None)

    async def test_are_replaced_when_they_are_closed(self, database: Database) -> None:
        before = await backend_of(database)
        async with database.read() as connection:
            raw = await connection.get_raw_connection()
            driver = raw.driver_connection
        assert driver is not None
        driver.terminate()

        after = await backend_of(database)

        assert after != before

    async def test_are_not_pinged_if_that_is_disabled(
        self,
        make_settings: Callable[..., Settings],
        database_url: str,
    ) -> None:
        settings = make_settings(database_url, database={"pool_pre_ping": False})
        async with open_database(settings) as database:
            pool = database.engine.sync_engine.pool

            assert list(pool.dispatch.checkout) == []


@pytest.mark.parametrize(
    ("state", "error"),
    [
        pytest.param("08006", DatabaseUnavailable, id="connection failure"),
        pytest.param("53300", DatabaseUnavailable, id="too many connections"),
        pytest.param("57014", DatabaseUnavailable, id="statement time-out"),
        pytest.param("57P01", DatabaseUnavailable, id="shutdown"),
        pytest.param("40001", DatabaseUnavailable, id="serialization failure"),
        pytest.param("40P01", DatabaseUnavailable, id="deadlock"),
        pytest.param("25006", DatabaseUnavailable, id="read-only"),
        pytest.param("55P03", DatabaseUnavailable, id="lock not available"),
        pytest.param("22003", DBAPIError, id="number out of range"),
        pytest.param("42601", DBAPIError, id="syntax"),
        pytest.param("25P02", DBAPIError, id="failed transaction"),
        pytest.param("55006", DBAPIError, id="object in use"),
        pytest.param("P0001", DBAPIError, id="raised"),
    ],
)
async def test_an_error_is_an_outage_if_a_retry_may_succeed(
    database: Database, state: str, error: type[Exception]
) -> None:
    raising = f"DO $$ BEGIN RAISE EXCEPTION 'on demand' USING ERRCODE = '{state}'; END $$"
    with pytest.raises(error):
        async with database.read() as connection:
            await connection.execute(text(raising))


async def backend_of(database: Database) -> int:
    """Return the server process behind the next connection of the pool."""
    async with database.read() as connection:
        process: int = (await connection.scalars(text("SELECT pg_backend_pid()"))).one()
    return process


Run = Callable[[Database, float], Awaitable[None]]


async def execute(database: Database, seconds: float) -> None:
    async with database.read() as connection:
        await connection.execute(_SLEEP, {"seconds": seconds})


async def fetch(database: Database, seconds: float) -> None:
    async with database.read() as connection:
        await _DIRECT.first(connection, seconds=seconds)


@pytest.mark.parametrize("sleep", [execute, fetch])
class TestStatements:
    async def test_return_the_connection_when_the_server_cancels_one(
        self, make_settings: Callable[..., Settings], database_url: str, sleep: Run
    ) -> None:
        settings = make_settings(database_url, database={"pool_size": 1, "statement_timeout": 0.05})
        async with open_database(settings) as database:
            await eventually(lambda: answers(database))
            with pytest.raises(DatabaseUnavailable) as refused:
                await sleep(database, 30)
            await eventually(lambda: answers(database))

        assert refused.value.context == {"reason": "QueryCanceledError"}

    async def test_replace_the_connection_when_nobody_waits_for_the_result(
        self, make_settings: Callable[..., Settings], database_url: str, sleep: Run
    ) -> None:
        settings = make_settings(database_url, database={"pool_size": 1})
        async with open_database(settings) as database:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await sleep(database, 30)
            await sleep(database, 0)

    async def test_report_a_server_that_does_not_answer_in_time(
        self, make_settings: Callable[..., Settings], database_url: str, sleep: Run
    ) -> None:
        limits = {"pool_size": 1, "statement_timeout": 0.05, "connect_timeout": 0.05}
        # Without pings the connection stays the same, however long it was idle.
        settings = make_settings(database_url, database=limits | {"pool_pre_ping": False})
        async with open_database(settings) as database:
            # The server forgets its limit, as if it had hung.
            await eventually(lambda: answers(database, "SET statement_timeout = 0"))
            with pytest.raises(DatabaseUnavailable) as refused:
                await sleep(database, 30)

        assert refused.value.context == {"reason": "no answer in time"}


class TestDirectQuery:
    async def test_finds_the_same_as_an_ordinary_one(self, database: Database) -> None:
        word = bindparam("word", type_=String)
        least = bindparam("least", type_=String)
        query = DirectQuery(select(cast(word, String), func.upper(word)).where(word >= least))
        async with database.read() as connection:
            found = await query.first(connection, word="drawer", least="a")
            assert await query.first(connection, word="drawer", least="x") is None

        assert found is not None
        assert tuple(found) == ("drawer", "DRAWER")

    async def test_converts_by_the_type_of_a_column(self, database: Database) -> None:
        word = bindparam("word", type_=Reversed)
        query = DirectQuery(select(word.label("read"), cast(word, String).label("stored")))
        async with database.read() as connection:
            found = await query.first(connection, word="drawer")

        assert found is not None
        assert tuple(found) == ("drawer", "reward")

    async def test_is_counted_and_leaves_errors_of_the_code_as_they_are(
        self, database: Database
    ) -> None:
        query = DirectQuery(select(column("nothing")).select_from(table("nowhere")))
        async with database.read() as connection:
            with measure() as account, pytest.raises(asyncpg.UndefinedTableError):
                await query.first(connection)

        assert account.statements == 1


class Reversed(TypeDecorator[str]):
    """A type that stores text reversed."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return value and value[::-1]

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return value and value[::-1]


async def answers(database: Database, statement: str = "SELECT 1") -> bool:
    """Return whether a condition holds in time: a slow machine may need several tries."""
    with suppress(DatabaseUnavailable):
        async with database.read() as connection:
            await connection.execute(text(statement))
        return True
    return False
