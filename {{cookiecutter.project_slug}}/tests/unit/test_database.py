"""Units of work, and what is measured of them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from sqlalchemy import Select, bindparam, column, event, func, select, table, text
from sqlalchemy.exc import DBAPIError, InvalidRequestError
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from app import models
from app.config import Settings
from app.core.errors import Conflict, DatabaseUnavailable, DomainError, EditConflict, InvalidToken
from app.core.ids import new_id
from app.core.pages import PageRequest
from app.domain.api_keys import ApiKeyNameTaken
from app.domain.items import ItemFilter
from app.domain.users import EmailTaken, UserId, UsernameTaken
from app.infrastructure.database import Database, measure
from app.infrastructure.database.statements import Statement
from app.models import Base
from app.repositories.constraints import CONSTRAINTS
from app.repositories.items import ItemReader
from app.repositories.users import UserReader
from tests.support.arrange import ArrangeSync
from tests.support.factories import (
    ApiKeyFactory,
    AuthSessionFactory,
    ItemFactory,
    UserFactory,
)

SELECT_ONE = text("SELECT 1")


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """The database of all tests, for those that store nothing."""
    async with Database.open(settings) as database:
        yield database


@pytest.fixture
async def own_database(
    make_settings: Callable[..., Settings], own_database_url: str
) -> AsyncIterator[Database]:
    async with Database.open(make_settings(own_database_url)) as database:
        yield database


class TestPool:
    async def test_is_as_the_settings_say(
        self, make_settings: Callable[..., Settings], database_url: str
    ) -> None:
        pool_settings = {
            "pool_size": 3,
            "max_overflow": 2,
            "pool_timeout": 1.5,
            "pool_recycle": 90,
        }
        async with Database.open(make_settings(database_url, database=pool_settings)) as database:
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
        async with Database.open(settings) as database:
            assert database.engine.sync_engine.pool.size() == 7  # type: ignore[attr-defined]

    async def test_connects_when_it_is_first_used(self, database: Database) -> None:
        pool = database.engine.sync_engine.pool
        before = pool.checkedin()  # type: ignore[attr-defined]

        await database.ping()

        assert [before, pool.checkedin()] == [0, 1]  # type: ignore[attr-defined]

    async def test_is_empty_after_it_was_closed(self, settings: Settings) -> None:
        async with Database.open(settings) as database:
            await database.ping()
            closed = asyncio.Event()
            event.listen(database.engine.sync_engine, "close", lambda *_: closed.set())

        assert closed.is_set()

    async def test_says_so_when_all_its_connections_are_busy(
        self, make_settings: Callable[..., Settings], database_url: str
    ) -> None:
        settings = make_settings(database_url, database={"pool_size": 1, "pool_timeout": 0.01})
        async with Database.open(settings) as database, database.read():
            with pytest.raises(DatabaseUnavailable) as refused:
                await database.ping()

        assert refused.value.context == {"reason": "all connections are busy"}


class TestTransaction:
    async def test_leaves_what_it_has_read_usable(self, own_database: Database) -> None:
        async with own_database.transaction() as session:
            user = UserFactory.build()
            session.add(user)

        assert user.email.endswith("@example.com")

    async def test_refuses_to_load_a_relation_that_nobody_asked_for(
        self, own_database: Database
    ) -> None:
        user = UserFactory.build()
        login = AuthSessionFactory.build(user_id=user.id)
        async with own_database.transaction() as session:
            session.add_all([user, login])
        async with own_database.transaction() as session:
            found = await session.get_one(models.AuthSession, login.id)

            with pytest.raises(InvalidRequestError, match="lazy='raise'"):
                _ = found.user

    async def test_tells_that_somebody_else_has_changed_the_row(
        self, own_database: Database
    ) -> None:
        user = UserFactory.build()
        item = ItemFactory.build(owner_id=user.id)
        await store(own_database, user, item)

        async def change_it_twice() -> None:
            async with own_database.transaction() as session:
                found = await session.get_one(models.Item, item.id)
                await session.execute(text("UPDATE items SET version = 7"))
                found.title = "Too late"

        with pytest.raises(EditConflict):
            await change_it_twice()

    async def test_runs_what_comes_after_in_the_order_of_asking(self, database: Database) -> None:
        order: list[int] = []

        async def first() -> None:
            order.append(1)

        async def second() -> None:
            order.append(2)

        async with database.transaction() as session:
            session.after_commit(first)
            session.after_commit(second)

        assert order == [1, 2]


class TestSnapshot:
    async def test_sees_all_as_of_one_moment(self, own_database: Database) -> None:
        count = select(func.count()).select_from(models.User)
        async with own_database.snapshot() as connection:
            before = (await connection.scalars(count)).one()
            async with own_database.transaction() as session:
                session.add(UserFactory.build())
            during = (await connection.scalars(count)).one()
        async with own_database.read() as connection:
            after = (await connection.scalars(count)).one()

        assert [before, during, after] == [0, 0, 1]


class TestRead:
    async def test_sees_each_moment_as_it_is(self, own_database: Database) -> None:
        count = select(func.count()).select_from(models.User)
        async with own_database.read() as connection:
            before = (await connection.scalars(count)).one()
            async with own_database.transaction() as session:
                session.add(UserFactory.build())
            after = (await connection.scalars(count)).one()

        assert [before, after] == [0, 1]


class TestFetch:
    async def test_finds_what_a_session_finds(self, own_database: Database) -> None:
        user = UserFactory.build()
        await store(own_database, user, ItemFactory.build(owner_id=user.id))
        wanted = ItemFilter(status="draft", search="", created_from=user.created_at)
        page = PageRequest(10)

        by_lookup = await ItemReader(own_database).page(
            UserId(user.id), wanted, "-created_at", page
        )
        async with own_database.transaction() as session:
            by_session = await ItemReader(session).page(
                UserId(user.id), wanted, "-created_at", page
            )

        assert by_lookup == by_session

    async def test_binds_values_of_each_call(self, own_database: Database) -> None:
        one, other = UserFactory.batch(2)
        await store(own_database, one, other)
        reader = UserReader(own_database)

        found = [await reader.profile(UserId(user.id)) for user in (one, other, one)]

        assert [profile and profile.email for profile in found] == [
            one.email,
            other.email,
            one.email,
        ]

    async def test_binds_what_stands_in_the_statement(self, own_database: Database) -> None:
        def administrators() -> Select[Any]:
            users = models.User
            return select(users.email).where(users.role == "admin", users.id != bindparam("but"))

        admin, user = UserFactory.build(role="admin"), UserFactory.build()
        await store(own_database, admin, user)

        rows = await own_database.fetch(Statement(administrators), {"but": new_id()})

        assert [tuple(row) for row in rows] == [(admin.email,)]

    async def test_lets_others_connect_meanwhile(
        self, make_settings: Callable[..., Settings], own_database_url: str
    ) -> None:
        settings = make_settings(own_database_url, database={"pool_size": 1})
        async with Database.open(settings) as database, asyncio.TaskGroup() as tasks:
            found = [
                tasks.create_task(UserReader(database).profile(UserId(new_id()))) for _ in range(5)
            ]

        assert [task.result() for task in found] == [None] * 5

    async def test_says_so_when_all_connections_are_busy(
        self, make_settings: Callable[..., Settings], database_url: str
    ) -> None:
        settings = make_settings(database_url, database={"pool_size": 1, "pool_timeout": 0.01})
        async with Database.open(settings) as database, database.read():
            with pytest.raises(DatabaseUnavailable):
                await UserReader(database).profile(UserId(new_id()))

    async def test_counts_its_statements(self, database: Database) -> None:
        with measure() as account:
            await UserReader(database).profile(UserId(new_id()))

        assert account.statements == 1
        assert account.seconds > 0

    async def test_logs_slow_statements_without_their_values(
        self, make_settings: Callable[..., Settings], database_url: str
    ) -> None:
        settings = make_settings(database_url, database={"slow_statement_ms": 0})
        someone = new_id()
        async with Database.open(settings) as database:
            with capture_logs() as logs:
                await UserReader(database).profile(UserId(someone))

        assert "FROM users" in logs[-1]["statement"]
        assert str(someone) not in str(logs)

    async def test_leaves_errors_of_the_code_what_they_are(self, database: Database) -> None:
        def broken() -> Select[Any]:
            return select(column("nothing")).select_from(table("nowhere"))

        with pytest.raises(Exception, match="nowhere") as refused:
            await database.fetch(Statement(broken), {})

        assert not isinstance(refused.value, DomainError)
        await database.ping()

    async def test_is_no_way_to_stream(self, database: Database) -> None:
        batches = ItemReader(database).stream(UserId(new_id()), ItemFilter())

        with pytest.raises(TypeError, match="ItemReader needs a connection"):
            await anext(batches)


class TestViolatedConstraints:
    async def test_say_that_the_address_is_taken(self, own_database: Database) -> None:
        one, other = UserFactory.batch(2)
        other.email = one.email

        with pytest.raises(EmailTaken) as refused:
            await store(own_database, one, other)

        assert refused.value.context == {"constraint": "uq_users_email"}

    async def test_say_that_the_user_name_is_taken(self, own_database: Database) -> None:
        one, other = UserFactory.batch(2)
        other.username = one.username

        with pytest.raises(UsernameTaken):
            await store(own_database, one, other)

    async def test_say_that_the_name_of_a_key_is_taken(self, own_database: Database) -> None:
        user = UserFactory.build()
        keys = ApiKeyFactory.batch(2, user_id=user.id, name="same")

        with pytest.raises(ApiKeyNameTaken):
            await store(own_database, user, *keys)

    @pytest.mark.parametrize(
        "fields",
        [
            pytest.param({"role": "king"}, id="check"),
            pytest.param({"email": None}, id="not null"),
        ],
    )
    async def test_are_conflicts_when_they_have_no_words_of_their_own(
        self, own_database: Database, fields: dict[str, str | None]
    ) -> None:
        with pytest.raises(Conflict) as refused:
            await store(own_database, UserFactory.build(**fields))

        assert type(refused.value) is Conflict

    @pytest.mark.parametrize(
        "row",
        [
            pytest.param(ItemFactory.build(owner_id=new_id()), id="item"),
            pytest.param(ApiKeyFactory.build(user_id=new_id()), id="API key"),
        ],
    )
    async def test_say_that_who_asks_is_gone(self, own_database: Database, row: Base) -> None:
        with pytest.raises(InvalidToken):
            await store(own_database, row)

    async def test_are_conflicts_when_something_else_is_gone(self, own_database: Database) -> None:
        with pytest.raises(Conflict) as refused:
            await store(own_database, AuthSessionFactory.build(user_id=new_id()))

        assert type(refused.value) is Conflict

    def test_are_all_in_the_schema(self) -> None:
        names = {
            str(constraint.name)
            for table in Base.metadata.tables.values()
            for constraint in table.constraints
        }

        assert CONSTRAINTS.keys() <= names


class TestOtherErrors:
    async def test_stay_what_they_are(self, database: Database) -> None:
        with pytest.raises(DBAPIError, match="nowhere"):
            async with database.read() as connection:
                await connection.execute(text("SELECT * FROM nowhere"))

    async def test_do_not_show_what_was_bound(self, database: Database) -> None:
        statement = text("SELECT * FROM nowhere WHERE name = :name")
        with pytest.raises(DBAPIError) as raised:
            async with database.read() as connection:
                await connection.execute(statement, {"name": "of a secret"})

        assert "of a secret" not in str(raised.value)


class TestStatistics:
    async def test_count_statements_and_their_time(self, database: Database) -> None:
        with measure() as account:
            async with database.read() as connection:
                await connection.execute(SELECT_ONE)
                await connection.execute(SELECT_ONE)

        assert account.statements == 2
        assert account.seconds > 0

    async def test_count_statements_that_fail(self, database: Database) -> None:
        with measure() as account, pytest.raises(DBAPIError):
            async with database.read() as connection:
                await connection.execute(text("SELECT * FROM nowhere"))

        assert account.statements == 1

    async def test_are_kept_for_each_request_by_itself(self, database: Database) -> None:
        async def request(statements: int) -> int:
            with measure() as account:
                for _ in range(statements):
                    await database.ping()
            return account.statements

        assert await asyncio.gather(*(request(count) for count in range(4))) == [0, 1, 2, 3]

    async def test_need_nobody_who_asks(self, database: Database) -> None:
        with measure() as account:
            pass
        await database.ping()

        assert account.statements == 0

    def test_are_on_the_line_of_the_request(self, client: TestClient, arrange: ArrangeSync) -> None:
        ada = arrange.someone()

        with capture_logs() as logs:
            client.get("/api/v1/items", headers=ada.headers)
            client.get("/live")

        read, alive = (line for line in logs if line["event"] == "request")
        assert read["statements"] == 2
        assert read["database_ms"] > 0
        assert "statements" not in alive


class TestSlowStatements:
    async def test_are_logged_without_their_values(
        self, make_settings: Callable[..., Settings], own_database_url: str
    ) -> None:
        settings = make_settings(own_database_url, database={"slow_statement_ms": 0})
        user = UserFactory.build(email="hidden@example.com")
        async with Database.open(settings) as database:
            with capture_logs() as logs:
                async with database.transaction() as session:
                    session.add(user)
                async with database.read() as connection:
                    await connection.execute(
                        select(models.User.id).where(models.User.email == "hidden@example.com")
                    )

        assert {line["event"] for line in logs} == {"slow statement"}
        assert min(line["duration_ms"] for line in logs) >= 0
        texts = "\n".join(line["statement"] for line in logs)
        assert "INSERT INTO users" in texts
        assert "users.email = " in texts
        assert "hidden" not in str(logs)

    async def test_are_logged_when_they_fail(
        self, make_settings: Callable[..., Settings], database_url: str
    ) -> None:
        settings = make_settings(database_url, database={"slow_statement_ms": 0})
        async with Database.open(settings) as database:
            with capture_logs() as logs, pytest.raises(DBAPIError):
                async with database.read() as connection:
                    await connection.execute(text("SELECT * FROM nowhere"))

        assert [line["statement"] for line in logs] == ["SELECT * FROM nowhere"]

    async def test_are_the_only_ones_that_are_logged(
        self, make_settings: Callable[..., Settings], database_url: str
    ) -> None:
        settings = make_settings(database_url, database={"slow_statement_ms": 60_000})
        async with Database.open(settings) as database:
            with capture_logs() as logs:
                await database.ping()

        assert logs == []


async def store(database: Database, *rows: Base) -> None:
    async with database.transaction() as session:
        for row in rows:
            session.add(row)
            await session.flush()


class TestSnapshots:
    @pytest.fixture
    def roomy(self, database: Database) -> Database:
        """A database with one long read at a time, for which nobody waits."""
        return Database(database.engine, snapshots=1, wait_seconds=0.01)

    async def test_leave_connections_to_the_others(self, roomy: Database) -> None:
        async with AsyncExitStack() as stack:
            _ = await stack.enter_async_context(roomy.snapshot())
            with pytest.raises(DatabaseUnavailable):
                _ = await stack.enter_async_context(roomy.snapshot())
            await roomy.ping()

    async def test_give_their_place_back(self, roomy: Database) -> None:
        async with roomy.snapshot():
            pass
        async with roomy.snapshot() as connection:
            assert (await connection.execute(SELECT_ONE)).scalar_one() == 1

    async def test_end_when_their_reader_takes_too_long(self, database: Database) -> None:
        hasty = Database(database.engine, snapshot_seconds=0.01)
        with pytest.raises(TimeoutError):
            async with hasty.snapshot():
                await asyncio.Event().wait()
        await hasty.ping()


class TestAfterCommit:
    async def test_goes_on_after_an_action_that_failed(self, database: Database) -> None:
        done: list[str] = []

        async def fail() -> None:
            raise RuntimeError("the queue is full")

        async def succeed() -> None:
            done.append("the next one")

        async with database.transaction() as session:
            session.after_commit(fail)
            session.after_commit(succeed)

        assert done == ["the next one"]
