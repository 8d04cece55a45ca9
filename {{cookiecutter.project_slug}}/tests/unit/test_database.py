"""Transactions, reads and snapshots, their errors, and statistics."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import event, func, select, text
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from app import models
from app.config import Settings
from app.core.errors import Conflict, DatabaseUnavailable, EditConflict, Forbidden
from app.core.ids import new_id
from app.infrastructure.database import Database
from app.infrastructure.database.models import Base
from tests.support.models import (
    Author,
    AuthorFactory,
    AuthorGone,
    NameTaken,
    Note,
    NoteFactory,
    measure,
    open_database,
    with_own_tables,
)

SELECT_ONE = text("SELECT 1")
NOWHERE = text("SELECT * FROM nowhere")
COUNT = select(func.count()).select_from(Author)


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """The database of all tests, for those that write nothing."""
    async with open_database(settings) as database:
        yield database


@pytest.fixture
async def own_database(
    make_settings: Callable[..., Settings], own_database_url: str
) -> AsyncIterator[Database]:
    """A database of one test, with the tables of the tests' models."""
    async with with_own_tables(make_settings(own_database_url)) as database:
        yield database


async def ask(database: Database) -> None:
    async with database.read() as connection:
        await connection.execute(SELECT_ONE)


async def store(database: Database, *rows: Base) -> None:
    async with database.transaction() as session:
        for row in rows:
            session.add(row)
            await session.flush()


async def stored_note(database: Database) -> Note:
    author = AuthorFactory.build()
    note = NoteFactory.build(author_id=author.id)
    await store(database, author, note)
    return note


class TestPool:
    async def test_follows_the_settings(
        self, make_settings: Callable[..., Settings], database_url: str
    ) -> None:
        limits = {"pool_size": 3, "max_overflow": 2, "pool_timeout": 1.5, "pool_recycle": 90}
        async with open_database(make_settings(database_url, database=limits)) as database:
            pool = database.engine.sync_engine.pool

            assert pool.size() == 3  # type: ignore[attr-defined]
            assert pool._max_overflow == 2  # type: ignore[attr-defined]
            assert pool._timeout == 1.5  # type: ignore[attr-defined]
            assert pool._recycle == 90

    async def test_follows_the_concurrency_of_a_worker(
        self, make_settings: Callable[..., Settings], database_url: str
    ) -> None:
        settings = make_settings(
            database_url, database={"pool_size": None}, server={"concurrency": 7}
        )
        assert settings.database_pool_size == 7

    async def test_connects_on_first_use_and_closes_at_the_end(self, settings: Settings) -> None:
        events: list[str] = []
        async with open_database(settings) as database:
            for name in ("connect", "close"):
                event.listen(database.engine.sync_engine, name, lambda *_, n=name: events.append(n))
            events.append("first use")
            await ask(database)

        assert events == ["first use", "connect", "close"]

    async def test_reports_that_all_connections_are_busy(
        self, make_settings: Callable[..., Settings], database_url: str
    ) -> None:
        settings = make_settings(database_url, database={"pool_size": 1, "pool_timeout": 0.01})
        async with open_database(settings) as database, database.read():
            with pytest.raises(DatabaseUnavailable) as refused:
                await ask(database)

        assert refused.value.context == {"reason": "all connections are busy"}


class TestTransaction:
    def test_refuses_to_load_a_relation_lazily(self) -> None:
        relations = [
            each for mapper in models.Base.registry.mappers for each in mapper.relationships
        ]

        assert {str(each): each.lazy for each in relations if each.lazy != "raise"} == {}

    async def test_refuses_an_edit_of_a_row_that_has_changed(self, own_database: Database) -> None:
        note = await stored_note(own_database)

        async def edit_too_late() -> None:
            async with own_database.transaction() as session:
                found = await session.get_one(Note, note.id)
                await session.execute(text("UPDATE notes SET version = 7"))
                found.text = "Too late"

        with pytest.raises(EditConflict):
            await edit_too_late()

    async def test_runs_actions_after_the_commit_in_order(self, database: Database) -> None:
        done: list[int] = []

        async def first() -> None:
            done.append(1)

        async def fail() -> None:
            raise RuntimeError("the queue is full")

        async def last() -> None:
            done.append(3)

        async with database.transaction() as session:
            for action in (first, fail, last):
                session.after_commit(action)
            assert done == []

        assert done == [1, 3]


class TestSnapshot:
    @pytest.mark.parametrize(("unit", "seen"), [("snapshot", [0, 0]), ("read", [0, 1])])
    async def test_sees_all_rows_as_of_one_moment_unlike_a_read(
        self, own_database: Database, unit: str, seen: list[int]
    ) -> None:
        async with getattr(own_database, unit)() as connection:
            before = (await connection.scalars(COUNT)).one()
            await store(own_database, AuthorFactory.build(name="Ada"))
            after = (await connection.scalars(COUNT)).one()

        assert [before, after] == seen

    async def test_leaves_connections_to_others(self, database: Database) -> None:
        limited = Database(database.engine, snapshots=1, wait_seconds=0.01)
        async with AsyncExitStack() as stack:
            _ = await stack.enter_async_context(limited.snapshot())
            with pytest.raises(DatabaseUnavailable):
                _ = await stack.enter_async_context(limited.snapshot())
            await limited.ping()
        async with limited.snapshot() as connection:
            assert (await connection.scalars(SELECT_ONE)).one() == 1

    async def test_ends_when_its_reader_takes_too_long(self, database: Database) -> None:
        hasty = Database(database.engine, snapshot_seconds=0.01)
        with pytest.raises(TimeoutError):
            async with hasty.snapshot():
                await asyncio.Event().wait()
        await hasty.ping()


class TestErrors:
    async def test_of_constraints_are_those_that_the_models_declare(
        self, own_database: Database
    ) -> None:
        await store(own_database, AuthorFactory.build(name="Ada"))
        for row, error, constraint in [
            (AuthorFactory.build(name="Ada"), NameTaken, "uq_authors_name"),
            (NoteFactory.build(author_id=new_id()), AuthorGone, "fk_notes_author_id_authors"),
            (AuthorFactory.build(rank=0), Conflict, "ck_authors_rank"),
            (AuthorFactory.build(name=None), Conflict, None),
        ]:
            with pytest.raises((Conflict, Forbidden)) as refused:
                await store(own_database, row)

            assert type(refused.value) is error
            assert refused.value.context == {"constraint": constraint}

    async def test_of_the_code_stay_as_they_are_and_hide_values(self, database: Database) -> None:
        statement = text("SELECT * FROM nowhere WHERE name = :name")
        with pytest.raises(DBAPIError, match="nowhere") as raised:
            async with database.read() as connection:
                await connection.execute(statement, {"name": "a secret"})

        assert "a secret" not in str(raised.value)
        await ask(database)


class TestStatistics:
    async def test_count_and_time_all_statements(self, own_database: Database) -> None:
        with measure() as account:
            await store(own_database, AuthorFactory.build(name="Ada"))
            async with own_database.read() as connection:
                await connection.execute(SELECT_ONE)
        before = account.statements
        with measure() as failed, pytest.raises(DBAPIError):
            async with own_database.read() as connection:
                await connection.execute(NOWHERE)

        assert before >= 2
        assert account.seconds > 0
        assert failed.statements == 1

    async def test_are_kept_per_request(self, database: Database) -> None:
        async def request(statements: int) -> int:
            with measure() as account:
                for _ in range(statements):
                    await ask(database)
            return account.statements

        with capture_logs() as logs:
            await ask(database)  # the first connection has statements of its own
        assert logs == []  # quick statements are not logged

        assert await asyncio.gather(*(request(count) for count in range(4))) == [0, 1, 2, 3]

    async def test_log_slow_statements_without_their_values(
        self, make_settings: Callable[..., Settings], own_database_url: str
    ) -> None:
        settings = make_settings(own_database_url, database={"slow_statement_ms": 0})
        async with with_own_tables(settings) as database:
            with capture_logs() as logs:
                await store(database, AuthorFactory.build(name="hidden"))
                async with database.read() as connection:
                    await connection.execute(select(Author.id).where(Author.name == "hidden"))
                    with pytest.raises(DBAPIError):
                        await connection.execute(NOWHERE)

        assert {line["event"] for line in logs} == {"slow statement"}
        assert min(line["duration_ms"] for line in logs) >= 0
        texts = "\n".join(line["statement"] for line in logs)
        assert "INSERT INTO authors" in texts
        assert "authors.name = " in texts
        assert texts.endswith("SELECT * FROM nowhere")
        assert "hidden" not in str(logs)
