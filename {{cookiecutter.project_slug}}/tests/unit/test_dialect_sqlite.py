"""Behaviour specific to SQLite."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx2
import pytest
from alembic import op
from alembic.util import CommandError
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import IntegrityError, OperationalError

from app.cli.runtime import with_resources
from app.config import Settings
from app.core.errors import DatabaseUnavailable, SearchTooSlow
from app.core.ids import new_id
from app.infrastructure.database import Database, dialect, migrations
from app.infrastructure.database.dialect import constraint_of, why_unavailable
from app.infrastructure.database.migrations import MigrationError
from app.resources import Resources
from dev_servers.sqlite import opened
from tests.support.arrange import Arrange
from tests.support.models import Author, Note, open_database
from tests.support.things import CREATE_TABLE, ENDLESS, THINGS, Thing
from tests.support.waiting import PATIENCE

DIALECT = sqlite.dialect()
MOMENT: Any = Note.__table__.c.created_at.type
FOREIGN = "FOREIGN KEY constraint failed"
TABLES: dict[str, Any] = {"notes": Note.__table__, "authors": Author.__table__}


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """The database of all tests, for those that store nothing."""
    async with open_database(settings) as database:
        yield database


class TestConnections:
    async def test_are_configured_and_lowercase_all_alphabets(
        self, make_settings: Callable[..., Settings], database_url: str
    ) -> None:
        pragmas = {"journal_mode": "wal", "foreign_keys": 1, "synchronous": 1, "busy_timeout": 1500}
        settings = make_settings(database_url, database={"lock_timeout": 1.5})
        async with open_database(settings) as database, database.read() as connection:
            for name, value in pragmas.items():
                assert (await connection.scalars(text(f"PRAGMA {name}"))).one() == value
            row = (await connection.execute(text("SELECT lower('ÜBUNG ΨΥΧΗ'), lower(NULL)"))).one()

        assert tuple(row) == ("übung ψυχη", None)

    def test_create_no_file(self, make_settings: Callable[..., Settings], tmp_path: Path) -> None:
        settings = make_settings(f"sqlite+aiosqlite:///{tmp_path / 'app.db'}")

        async def work(_: Resources) -> None:
            raise AssertionError

        with pytest.raises(DatabaseUnavailable):
            with_resources(settings, work)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("name", ["a?b=c.db", "a#b.db", "a%20b.db", "ä b.db"])
    async def test_find_a_file_of_any_name(
        self, make_settings: Callable[..., Settings], tmp_path: Path, name: str
    ) -> None:
        with closing(sqlite3.connect(tmp_path / name)) as connection:
            connection.execute("VACUUM")  # before that there is no file
        url = URL.create("sqlite+aiosqlite", database=str(tmp_path / name))
        async with open_database(make_settings(url.render_as_string())) as database:
            await database.ping()

    async def test_end_if_they_are_stopped_while_they_are_closed(self, database: Database) -> None:
        async with database.engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            closing = asyncio.create_task(driver.close())
            await asyncio.wait({closing}, timeout=0)  # it begins

            driver.stop()

            async with asyncio.timeout(PATIENCE):
                await closing

    async def test_close_if_the_caller_is_cancelled_while_they_open(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened: list[sqlite3.Connection] = []
        loop, opening, cancelled = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
        connect = sqlite3.connect

        def open_one(name: str, **options: Any) -> sqlite3.Connection:
            opened.append(connect(name, **options))
            loop.call_soon_threadsafe(opening.set)
            cancelled.wait(PATIENCE)
            return opened[-1]

        monkeypatch.setattr(sqlite3, "connect", open_one)
        async with open_database(settings) as database:
            pinging = asyncio.create_task(database.ping())
            await opening.wait()
            pinging.cancel()
            cancelled.set()
            await asyncio.wait([pinging])

        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            opened[0].execute("SELECT 1")

    def test_of_development_are_to_a_directory_for_its_owner_alone(self, tmp_path: Path) -> None:
        with opened(tmp_path / ".dev"):
            assert (tmp_path / ".dev").stat().st_mode & 0o777 == 0o700


class TestMigrations:
    @pytest.mark.parametrize("is_there", [False, True])
    def test_make_the_directory_of_the_file_for_its_owner_alone(
        self, tmp_path: Path, is_there: bool
    ) -> None:
        path = tmp_path / "new" / "app.db"
        if is_there:
            path.parent.mkdir()
            path.parent.chmod(0o755)
        migrations.upgrade(f"sqlite+aiosqlite:///{path}")
        assert path.parent.stat().st_mode & 0o777 == (0o755 if is_there else 0o700)

    def test_name_the_path_that_can_not_be_opened_or_made(self, tmp_path: Path) -> None:
        with pytest.raises(MigrationError, match=f"unable to open database file: {tmp_path}"):
            migrations.check_revision(f"sqlite+aiosqlite:///{tmp_path}")
        path = tmp_path / "file"
        path.touch()
        with pytest.raises(MigrationError, match=str(path)):
            migrations.check_revision(f"sqlite+aiosqlite:///{path}/below/app.db")

    def test_are_read_without_creating_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "app.db"
        check = migrations.check_revision(f"sqlite+aiosqlite:///{path}")
        assert check.state == "behind"
        assert check.database == ()
        with pytest.raises(MigrationError, match="no migration to revert"):
            migrations.downgrade(f"sqlite+aiosqlite:///{path}", "-1")
        assert not path.parent.exists()

    def test_wait_for_each_other(
        self, own_database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dialect, "_LOCK_SECONDS", 0.0)
        path = make_url(own_database_url).database
        assert path is not None
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(MigrationError, match="locked"):
            migrations.upgrade(own_database_url)
        other.close()

        migrations.upgrade(own_database_url)

    def test_leave_nothing_behind_when_they_fail(
        self, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(op, "create_index", refuse)
        with pytest.raises(MigrationError, match="on demand"):
            migrations.upgrade(empty_database_url)
        monkeypatch.undo()

        migrations.upgrade(empty_database_url)


class TestUnitsOfWork:
    @pytest.mark.parametrize(
        ("unit", "in_transaction"), [("read", False), ("snapshot", True), ("transaction", True)]
    )
    async def test_open_a_transaction_only_where_one_is_needed(
        self, database: Database, unit: str, in_transaction: bool
    ) -> None:
        async with getattr(database, unit)() as opened:
            await opened.execute(text("SELECT count(*) FROM users"))
            connection = opened if unit != "transaction" else await opened.connection()
            raw = await connection.get_raw_connection()

            assert raw.driver_connection.in_transaction is in_transaction

    async def test_take_the_write_lock_at_once(
        self, own_database_url: str, database: Database
    ) -> None:
        path = database.engine.url.database
        assert path is not None
        other = sqlite3.connect(path, timeout=0, isolation_level=None)
        async with database.transaction() as session:
            await session.execute(text("SELECT 1"))

            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
        other.close()


class TestWriters:
    async def test_take_turns_in_the_order_of_arrival(
        self, make_settings: Callable[..., Settings], own_database_url: str
    ) -> None:
        wrote = []

        async def write(database: Database, number: int) -> None:
            async with database.transaction() as session:
                await session.execute(text("SELECT 1"))
                wrote.append(number)
                await asyncio.sleep(0.02)

        settings = make_settings(own_database_url, database={"pool_size": 10})
        async with open_database(settings) as database:
            async with AsyncExitStack() as connections:
                for _ in range(10):
                    connection = await connections.enter_async_context(database.read())
                    await connection.execute(text("SELECT 1"))
            async with asyncio.TaskGroup() as writers:
                for number in range(10):
                    writers.create_task(write(database, number))
                    await asyncio.sleep(0.001)

        assert wrote == [*range(10)]

    async def test_are_refused_if_their_turn_does_not_come_in_time(
        self, make_settings: Callable[..., Settings], own_database_url: str
    ) -> None:
        settings = make_settings(own_database_url, database={"lock_timeout": 0.05})
        async with open_database(settings) as database, database.transaction() as first:
            await first.execute(text("SELECT 1"))
            with pytest.raises(DatabaseUnavailable) as refused:
                async with database.transaction() as second:
                    await second.execute(text("SELECT 1"))
        assert refused.value.context == {"reason": "SQLITE_BUSY"}

    async def test_keep_their_turn_while_they_keep_their_connection(
        self, database: Database
    ) -> None:
        async with asyncio.timeout(1), database.writers.connect() as connection:
            for _ in range(2):
                async with connection.begin():
                    await connection.execute(text("SELECT 1"))


async def test_a_search_that_starts_after_its_time_limit_is_stopped(database: Database) -> None:
    is_over = asyncio.Event()

    async def search() -> None:
        async with database.search(0) as connection:
            asyncio.get_running_loop().call_later(0.01, is_over.set)
            await is_over.wait()
            await connection.execute(ENDLESS)

    with pytest.raises(SearchTooSlow):
        await search()


async def test_a_concurrent_duplicate_of_a_request_waits_for_the_first_answer(
    own_client: httpx2.AsyncClient, arrange_own: Arrange
) -> None:
    await arrange_own.execute(CREATE_TABLE)
    headers = (await arrange_own.account()).headers | {"Idempotency-Key": new_id().hex}
    requests = [own_client.post(THINGS, json={"title": "A"}, headers=headers) for _ in range(3)]
    responses = await asyncio.gather(*requests)
    assert [each.status_code for each in responses] == [201] * 3
    assert len({each.content for each in responses}) == 1
    assert await arrange_own.rows(select(Thing.title)) == [("A",)]


@pytest.mark.parametrize(
    ("message", "statement", "name"),
    [
        ("UNIQUE constraint failed: authors.name", "INSERT", "uq_authors_name"),
        ("UNIQUE constraint failed: authors.rank, authors.id", "INSERT", "uq_authors_short"),
        (
            "UNIQUE constraint failed: notes.author_id, notes.text",
            "INSERT",
            "uq_notes_author_id_text",
        ),
        ("CHECK constraint failed: ck_authors_rank", "INSERT", "ck_authors_rank"),
        ("NOT NULL constraint failed: authors.name", "INSERT", None),
        (FOREIGN, "INSERT INTO notes (id, author_id) VALUES (?, ?)", "fk_notes_author_id_authors"),
        (FOREIGN, "INSERT INTO authors (id) VALUES (?)", None),
        (FOREIGN, "INSERT INTO nowhere (id) VALUES (?)", None),
        (FOREIGN, "COMMIT", None),
    ],
)
def test_a_constraint_is_found_by_the_message_or_the_statement(
    message: str, statement: str, name: str | None
) -> None:
    error = IntegrityError(statement, {}, sqlite3.IntegrityError(message))

    assert constraint_of(error, TABLES) == name


def test_an_error_is_an_outage_if_a_retry_may_succeed() -> None:
    passing = ["BUSY", "BUSY_SNAPSHOT", "LOCKED", "CANTOPEN", "FULL", "IOERR_WRITE", "READONLY"]
    for name in [f"SQLITE_{each}" for each in passing]:
        assert why_unavailable(failure(name)) == name
    for name in ["SQLITE_ERROR", "SQLITE_MISUSE", "SQLITE_OK"]:
        assert why_unavailable(failure(name)) is None
    assert why_unavailable(OperationalError("SELECT", {}, ValueError())) is None
    lost = OperationalError("SELECT", {}, ValueError(), connection_invalidated=True)
    assert why_unavailable(lost) == "ValueError"


class TestUtcDateTime:
    @given(
        moment=st.datetimes(
            min_value=datetime(2, 1, 1),  # noqa: DTZ001 - the strategy adds the zone
            max_value=datetime(9998, 12, 31),  # noqa: DTZ001
            timezones=st.timezones(),
        )
    )
    def test_returns_the_same_moment_in_utc(self, moment: datetime) -> None:
        stored = MOMENT.process_bind_param(moment, DIALECT)
        read = MOMENT.process_result_value(stored, DIALECT)

        assert stored is not None
        assert stored.tzinfo is None
        assert read == moment.astimezone(UTC)
        assert read.tzinfo is UTC

    def test_sorts_moments_of_all_zones(self) -> None:
        early = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=5)))
        late = datetime(2026, 1, 1, 8, tzinfo=UTC)

        stored = [MOMENT.process_bind_param(moment, DIALECT) for moment in (early, late)]

        assert stored == [datetime(2026, 1, 1, 7), datetime(2026, 1, 1, 8)]  # noqa: DTZ001

    def test_refuses_a_moment_without_a_zone_and_leaves_null_as_it_is(self) -> None:
        with pytest.raises(ValueError, match="time zone"):
            MOMENT.process_bind_param(datetime(2026, 1, 1), DIALECT)  # noqa: DTZ001
        assert MOMENT.process_bind_param(None, DIALECT) is None
        assert MOMENT.process_result_value(None, DIALECT) is None


def refuse(*_: object) -> None:
    """Fail a migration at this step."""
    raise CommandError("on demand")


def failure(name: str) -> OperationalError:
    cause = sqlite3.OperationalError("on demand")
    cause.sqlite_errorcode = getattr(sqlite3, name)
    cause.sqlite_errorname = name
    return OperationalError("SELECT", {}, cause)
