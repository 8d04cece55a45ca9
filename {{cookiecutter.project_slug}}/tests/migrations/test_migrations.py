"""Migrations match the models, and each can be reverted (rule DB08)."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import (
    CheckConstraint,
    Connection,
    ForeignKeyConstraint,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    func,
    inspect,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool
from sqlalchemy.sql.schema import ColumnCollectionConstraint

from app.infrastructure.database import migrations
from app.models import Base
from tests.support.factories import UserFactory, a_row_of_each_table

TABLES = sorted(Base.metadata.tables.values(), key=lambda table: table.name)
SORTED_AND_FILTERED = [
    # Every list of the API: its filters, then its sort keys.
    ("users", ("created_at", "id")),
    ("users", ("role", "created_at", "id")),
    ("users", ("is_active", "created_at", "id")),
    ("users", ("email",)),
    ("users", ("username",)),
    ("api_keys", ("user_id", "created_at", "id")),
    ("auth_sessions", ("user_id", "created_at", "id")),
    # Lookups and pruning.
    ("api_keys", ("key_hash",)),
    ("refresh_tokens", ("token_hash",)),
    ("auth_sessions", ("user_id", "last_used_at", "id")),
    ("auth_sessions", ("expires_at",)),
    ("auth_sessions", ("revoked_at",)),
    ("login_throttles", ("expires_at",)),
]
REVISIONS = [revision for revision, _ in reversed(migrations.history())]


class TestStairway:
    @pytest.mark.parametrize("revision", REVISIONS)
    async def test_goes_up_down_and_up_again_at_each_revision(
        self, empty_database_url: str, revision: str
    ) -> None:
        url = empty_database_url
        await asyncio.to_thread(migrations.upgrade, url, revision)
        above = await schema_of(url)

        await asyncio.to_thread(migrations.downgrade, url, "-1")
        below = await schema_of(url)
        await asyncio.to_thread(migrations.upgrade, url, revision)

        assert below != above
        assert await schema_of(url) == above

    async def test_leaves_nothing_at_the_bottom(self, empty_database_url: str) -> None:
        await asyncio.to_thread(migrations.upgrade, empty_database_url)

        await asyncio.to_thread(migrations.downgrade, empty_database_url, "base")

        assert await schema_of(empty_database_url) == {}

    async def test_keeps_rows_when_run_again_and_can_be_undone_with_them(
        self, empty_database_url: str
    ) -> None:
        url = empty_database_url
        steps: list[str] = []
        await asyncio.to_thread(migrations.upgrade, url)
        async with connected(url) as connection:
            await fill(connection)
        await asyncio.to_thread(migrations.upgrade, url, report=steps.append)
        async with connected(url) as connection:
            filled = [await count(connection, table) for table in TABLES]

        await asyncio.to_thread(migrations.downgrade, url, "base")
        await asyncio.to_thread(migrations.upgrade, url)

        async with connected(url) as connection:
            emptied = [await count(connection, table) for table in TABLES]
        assert steps == []
        assert filled == [1] * len(TABLES)
        assert not any(emptied)


class TestSchema:
    async def test_does_not_drift_from_the_models(self, own_database_url: str) -> None:
        assert await asyncio.to_thread(migrations.differences, own_database_url) == []

    async def test_detects_drift(self, own_database_url: str) -> None:
        async with connected(own_database_url) as connection:
            await connection.execute(text("DROP INDEX ix_users_created_at_id"))

        (difference,) = await asyncio.to_thread(migrations.differences, own_database_url)

        assert "ix_users_created_at_id" in difference

    async def test_equals_the_models(self, own_database_url: str, empty_database_url: str) -> None:
        async with connected(empty_database_url) as connection:
            await connection.run_sync(Base.metadata.create_all)

        assert await schema_of(own_database_url) == await schema_of(empty_database_url)


async def test_a_revision_is_behind_current_or_ahead(empty_database_url: str) -> None:
    url = empty_database_url
    behind = await asyncio.to_thread(migrations.check_revision, url)
    await asyncio.to_thread(migrations.upgrade, url)
    current = await asyncio.to_thread(migrations.check_revision, url)
    async with connected(url) as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = 'future'"))
    ahead = await asyncio.to_thread(migrations.check_revision, url)

    assert [behind.state, current.state, ahead.state] == ["behind", "current", "ahead"]
    assert "app migrate" in str(behind)
    assert current.database == current.code == (REVISIONS[-1],)
    with pytest.raises(migrations.MigrationError, match="ahead of this code"):
        await asyncio.to_thread(migrations.upgrade, url)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
class TestIndexes:
    def test_cover_every_foreign_key(self, table: Table) -> None:
        indexed = indexed_columns(table)

        missing = [
            column.name
            for column in table.columns
            if column.foreign_keys and column.name not in {columns[0] for columns in indexed}
        ]
        assert missing == []

    def test_are_no_prefix_of_another(self, table: Table) -> None:
        names = [tuple(column.name for column in index.columns) for index in table.indexes]

        assert [
            short
            for short in names
            for long in indexed_columns(table)
            if short != long and long[: len(short)] == short
        ] == []


class TestQueries:
    @pytest.mark.parametrize(
        ("table", "columns"), SORTED_AND_FILTERED, ids=lambda value: "-".join([*value])
    )
    def test_have_an_index(self, table: str, columns: tuple[str, ...]) -> None:
        indexed = indexed_columns(Base.metadata.tables[table])

        assert [each for each in indexed if each[: len(columns)] == columns] != []


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_names_follow_the_convention_and_fit_into_every_database(table: Table) -> None:
    prefixes = {
        PrimaryKeyConstraint: "pk",
        ForeignKeyConstraint: "fk",
        UniqueConstraint: "uq",
        CheckConstraint: "ck",
        Index: "ix",
    }
    named: list[Any] = [*table.constraints, *table.indexes]
    for each in named:
        (prefix,) = [name for kind, name in prefixes.items() if isinstance(each, kind)]
        assert re.match(f"{prefix}_{table.name}(_|$)", str(each.name))
        assert len(str(each.name)) <= 63


def indexed_columns(table: Table) -> list[tuple[str, ...]]:
    """Return the columns of all indexes, primary keys and unique constraints."""
    unique = (PrimaryKeyConstraint, UniqueConstraint)
    indexes: Iterable[Index | PrimaryKeyConstraint | UniqueConstraint] = [
        *table.indexes,
        *(constraint for constraint in table.constraints if isinstance(constraint, unique)),
    ]
    return [tuple(column.name for column in index.columns) for index in indexes]


async def fill(connection: AsyncConnection) -> None:
    """Store a row in each table."""
    rows = a_row_of_each_table(UserFactory.build())
    for table in Base.metadata.sorted_tables:
        await connection.execute(table.insert().values(rows[table.name]))


async def count(connection: AsyncConnection, table: Table) -> int:
    counted: int = (await connection.scalars(select(func.count()).select_from(table))).one()
    return counted


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[AsyncConnection]:
    """A connection whose work is committed at the end."""
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.begin() as connection:
        yield connection
    await engine.dispose()


async def schema_of(url: str) -> dict[str, Any]:
    """Return the reflected schema of a database."""
    async with connected(url) as connection:
        return await connection.run_sync(_reflected)


def _reflected(connection: Connection) -> dict[str, Any]:
    metadata, inspector = MetaData(), inspect(connection)
    metadata.reflect(connection)
    return {
        table.name: {
            "columns": {
                column.name: (
                    repr(column.type),
                    column.nullable,
                    str(getattr(column.server_default, "arg", None)),
                )
                for column in table.columns
            },
            "indexes": {
                index.name: (
                    [column.name for column in index.columns],
                    index.unique,
                    {name: str(value) for name, value in index.dialect_kwargs.items()},
                )
                for index in table.indexes
            },
            "constraints": {
                each.name: (type(each).__name__, [column.name for column in each.columns])
                for each in table.constraints
                if isinstance(each, ColumnCollectionConstraint)
            },
            "checks": {check["name"] for check in inspector.get_check_constraints(table.name)},
            "references": {
                column.name: [(key.target_fullname, key.ondelete) for key in column.foreign_keys]
                for column in table.columns
                if column.foreign_keys
            },
        }
        for table in metadata.tables.values()
        if table.name != "alembic_version"
    }
