"""Databases for tests: copies of one migrated file, in a directory of the test run's own."""

import re
import secrets
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection

from app.infrastructure.database import migrations

UNREACHABLE_URL = "sqlite+aiosqlite:////usr"
"""Address of a database that nobody has: it is a directory."""

_OURS = re.compile(r".*/apptest_[^/]+/(template|[0-9a-f]{12})\.db")


class NotATestDatabase(Exception):
    """The tests were about to use a database that was not created for them (rule DB11)."""


def require_test_database(url: str) -> str:
    """Return the path of the database at an address.

    Raises:
        NotATestDatabase: It was not created for tests.
    """
    path = make_url(url).database or ""
    if not _OURS.fullmatch(path):
        raise NotATestDatabase(f"{path!r} is not a database that the tests have made.")
    return path


async def plan_of(connection: AsyncConnection, statement: str, parameters: Any) -> str:
    """Return the plan of a statement."""
    plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
    return " ".join(map(str, plan))


@dataclass(frozen=True, slots=True)
class TestDatabases:
    """The databases of one test run, all its processes together.

    Attributes:
        source: Description of the databases.
        directory: Location of the files.
    """

    __test__: ClassVar = False

    source: str
    directory: str

    @classmethod
    @contextmanager
    def started(cls) -> Iterator[Self]:
        """Yield the databases with a directory and the template; remove both afterwards."""
        with tempfile.TemporaryDirectory(prefix="apptest_") as directory:
            databases = cls(f"SQLite {sqlite3.sqlite_version}, files in {directory}", directory)
            databases._make_template()
            yield databases

    def create(self) -> str:
        """Create a database with all tables and no rows; return its address."""
        url = self.create_empty()
        shutil.copyfile(self._path("template"), require_test_database(url))
        return url

    def create_empty(self) -> str:
        """Create a database without tables, for migrations; return its address."""
        return self._url(secrets.token_hex(6))

    def nowhere(self) -> str:
        """Return an address without a database: a directory instead of a file."""
        return f"sqlite+aiosqlite:///{self.directory}"

    def drop(self, url: str) -> None:
        """Remove a database.

        Raises:
            NotATestDatabase: It was not created for tests.
        """
        path = require_test_database(url)
        for suffix in ("", "-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)

    def _make_template(self) -> None:
        with ThreadPoolExecutor(1) as thread:  # where no loop runs, whoever asks
            thread.submit(migrations.upgrade, self._url("template")).result()
        # So that the copies need not change it, and the one file is all there is to copy.
        with closing(sqlite3.connect(self._path("template"))) as connection:
            connection.execute("PRAGMA journal_mode=WAL")

    def _path(self, name: str) -> Path:
        return Path(self.directory) / f"{name}.db"

    def _url(self, name: str) -> str:
        return f"sqlite+aiosqlite:///{self._path(name)}"
