"""Databases for tests: clones of one migrated template, on a server of the test run's own.

A clone has hundreds of files, so one whose schema is unchanged is emptied for the next test.
"""

import asyncio
import os
import re
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import asyncpg  # type: ignore[import-untyped]  # it has no types
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection

from app.infrastructure.database import migrations
from dev_servers import Server, postgresql

SERVER_VARIABLE = "TEST_POSTGRESQL_URL"
"""Address of a server on which the tests may make databases; without it they start their own."""

UNREACHABLE_URL = "postgresql+asyncpg://app@127.0.0.1:1/app"
"""Address of a database that nobody has."""

_SCHEMA = """
SELECT md5(string_agg(line, ' ' ORDER BY line)) FROM (
    SELECT concat(c.oid, c.relname, pg_relation_size(c.oid) > 262144)
        FROM pg_class c WHERE c.oid >= 16384
    UNION ALL SELECT a::text FROM pg_attribute a WHERE a.attrelid >= 16384
    UNION ALL SELECT d::text FROM pg_attrdef d
    UNION ALL SELECT c::text FROM pg_constraint c WHERE c.oid >= 16384
    UNION ALL SELECT t::text FROM pg_trigger t
    UNION ALL SELECT p::text FROM pg_proc p WHERE p.oid >= 16384
    UNION ALL SELECT t::text FROM pg_type t WHERE t.oid >= 16384
    UNION ALL SELECT s::text FROM pg_db_role_setting s
    UNION ALL SELECT version_num FROM alembic_version
    UNION ALL SELECT last_value::text FROM pg_sequences
    UNION ALL SELECT pid::text FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
) AS lines (line)
"""
"""Digest of all in a database but rows: the schema, large files, and who else is connected."""

_EMPTY = """
DO $$ DECLARE name text; BEGIN
    PERFORM set_config('session_replication_role', 'replica', true);  -- in any order
    FOR name IN SELECT tablename FROM pg_tables
        WHERE schemaname = 'public' AND tablename <> 'alembic_version'
    LOOP EXECUTE format('DELETE FROM %I', name); END LOOP;
END $$
"""

_OURS = re.compile(r"apptest_[0-9a-f]{8}_(template|[0-9a-f]{12})")


class NotATestDatabase(Exception):
    """The tests were about to use a database that was not created for them (rule DB11)."""


def require_test_database(url: str) -> str:
    """Return the name of the database at an address.

    Raises:
        NotATestDatabase: It was not created for tests.
    """
    name = make_url(url).database or ""
    if not _OURS.fullmatch(name):
        raise NotATestDatabase(f"{name!r} is not a database that the tests have made.")
    return name


async def plan_of(connection: AsyncConnection, statement: str, parameters: Any) -> str:
    """Return the plan of a statement."""
    # Tables of tests are so small that sorting costs no more than an index that is sorted already.
    await connection.exec_driver_sql("SET LOCAL enable_sort = off")
    plan = await connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
    return " ".join(map(str, plan))


@dataclass(frozen=True, slots=True)
class TestDatabases:
    """The databases of one test run, all its processes together.

    Attributes:
        source: Description of the server.
        server: Address of that server.
        run: Prefix of the names of this run's databases.
        schema: Digest of the template's schema.
        spare: Names of empty databases.
    """

    __test__: ClassVar = False

    source: str
    server: str
    run: str
    schema: str = ""
    spare: list[str] = field(default_factory=list)

    @classmethod
    @contextmanager
    def started(cls) -> Iterator[Self]:
        """Yield the databases with a server and the template; remove all of them afterwards.

        Raises:
            ServerUnavailable: No server could be started.
        """
        given = os.environ.get(SERVER_VARIABLE)
        named = nullcontext(Server(given or "", f"the PostgreSQL that {SERVER_VARIABLE} names"))
        with named if given else postgresql.opened(None) as server:
            databases = cls(server.source, server.url, f"apptest_{secrets.token_hex(4)}")
            try:
                yield replace(databases, schema=databases._make_template())
            finally:
                if given:  # else all of them go with the server
                    databases._drop_all()

    def create(self) -> str:
        """Create a database with all tables and no rows; return its address."""
        if not self.spare:
            return self._create(f"TEMPLATE {self.run}_template")
        url = self._url(secrets.token_hex(6))  # caches and limits are kept by it
        rename = f"ALTER DATABASE {self.spare.pop()} RENAME TO {require_test_database(url)}"
        execute(self.server, rename)
        return url

    def create_empty(self) -> str:
        """Create a database without tables, for migrations; return its address."""
        return self._create("TEMPLATE template0")

    def nowhere(self) -> str:
        """Return an address without a database."""
        return "postgresql+asyncpg://nobody@127.0.0.1:1/nothing"

    def drop(self, url: str) -> None:
        """Empty a database, or remove it with those who are still connected.

        Raises:
            NotATestDatabase: It was not created for tests.
        """
        name = require_test_database(url)
        with suppress(asyncpg.PostgresError):  # it has no tables, or is gone
            if execute(url, _SCHEMA) == [self.schema]:
                execute(url, _EMPTY)
                self.spare.append(name)
                return
        execute(self.server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _create(self, how: str) -> str:
        url = self._url(secrets.token_hex(6))
        execute(self.server, f"CREATE DATABASE {require_test_database(url)} {how}")
        return url

    def _make_template(self) -> str:
        """Make the template; return the digest of its schema."""
        url = self._url("template")
        name = require_test_database(url)
        execute(self.server, f"CREATE DATABASE {name} TEMPLATE template0")
        with ThreadPoolExecutor(1) as thread:  # where no loop runs, whoever asks
            thread.submit(migrations.upgrade, url).result()
        (schema,) = execute(url, _SCHEMA)
        # A template that somebody is connected to can't be cloned.
        execute(self.server, f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
        return schema

    def _drop_all(self) -> None:
        for name in execute(self.server, "SELECT datname FROM pg_database"):
            if name.startswith(f"{self.run}_"):
                execute(self.server, f"DROP DATABASE {name} WITH (FORCE)")

    def _url(self, suffix: str) -> str:
        url = make_url(self.server).set(
            drivername="postgresql+asyncpg", database=f"{self.run}_{suffix}"
        )
        return url.render_as_string(hide_password=False)


def execute(server: str, statement: str) -> list[str]:
    """Run a statement on a server; return the first column of the answer."""

    async def run() -> list[str]:
        address = make_url(server).set(drivername="postgresql")
        connection = await asyncpg.connect(address.render_as_string(hide_password=False))
        try:
            return [row[0] for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as thread:  # where no loop runs, whoever asks
        return thread.submit(asyncio.run, run()).result()
