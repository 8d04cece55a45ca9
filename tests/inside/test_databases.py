"""DB11: tests refuse any database that was not created for them; TST03: none finds traces in it."""

from contextlib import suppress
from typing import Any

import pytest
from app.models import Base
from sqlalchemy import select, table, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from tests.migrations.test_migrations import connected, schema_of
from tests.support.databases import NotATestDatabase, TestDatabases, require_test_database
from tests.support.factories import UserFactory, a_row_of_each_table

CHANGES = (
    "SELECT 1",
    "ALTER TABLE users RENAME COLUMN full_name TO gone",
    "ALTER TABLE users RENAME TO people",
    "CREATE TABLE another (id INTEGER PRIMARY KEY)",
    "DROP INDEX ix_users_created_at_id",
    "UPDATE alembic_version SET version_num = 'future'",
)


def test_names_a_database_that_was_made_for_tests(database_url: str) -> None:
    assert require_test_database(database_url) == make_url(database_url).database


def test_refuses_every_other(databases: TestDatabases, database_url: str) -> None:
    ours = make_url(database_url)
    for name in ("app", f"{ours.database}-copy"):
        other = ours.set(database=name).render_as_string(hide_password=False)
        with pytest.raises(NotATestDatabase, match="is not a database that the tests have made"):
            databases.drop(other)


@pytest.mark.parametrize("change", CHANGES)
async def test_gives_each_test_the_same(databases: TestDatabases, change: str) -> None:
    before = await content_of(databases.create())
    url = databases.create()
    await fill(url)
    async with connected(url) as connection:
        await connection.execute(text(change))
    databases.drop(url)
    others = [databases.create() for _ in range(2)]
    assert url not in others
    assert [await content_of(other) for other in others] == [before, before]


async def test_gives_none_to_which_an_earlier_test_is_connected(databases: TestDatabases) -> None:
    url = databases.create()
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
        databases.drop(url)
        other = databases.create()
        with suppress(DBAPIError):
            await connection.execute(text("UPDATE alembic_version SET version_num = 'future'"))
        assert "future" not in str(await content_of(other))
    await engine.dispose()


async def fill(url: str) -> None:
    rows = a_row_of_each_table(UserFactory.build())
    async with connected(url) as connection:
        for each in Base.metadata.sorted_tables:
            await connection.execute(each.insert().values(rows[each.name]))


async def content_of(url: str) -> list[Any]:
    schema = await schema_of(url)
    selects = [select(text("*")).select_from(table(n)) for n in (*schema, "alembic_version")]
    async with connected(url) as connection:
        rows = [(await connection.execute(each)).all() for each in selects]
    return [schema, rows]
