"""Gives the tests their databases: made once for a run, however many processes it has.

The process that starts the run starts what is needed when somebody first asks, and its workers
learn from it where that is.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final

import pytest

from dev_servers import ServerUnavailable
from tests.support.databases import TestDatabases

_ADDRESS: Final = "test_databases"
_RUN: Final = pytest.StashKey["_Run"]()


class _Run:
    """The databases of this run, from the moment they are needed."""

    def __init__(self) -> None:
        self.stack = ExitStack()
        self._databases: TestDatabases | None = None

    def databases(self) -> TestDatabases:
        if self._databases is None:
            try:
                self._databases = self.stack.enter_context(TestDatabases.started())
            except ServerUnavailable as error:
                raise pytest.UsageError(str(error)) from error
        return self._databases


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_RUN] = _Run()


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_RUN].stack.close()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist where the databases are."""
    node.workerinput[_ADDRESS] = node.config.stash[_RUN].databases().address


def pytest_report_header(config: pytest.Config) -> str | None:
    if config.option.collectonly:
        return None
    return f"databases: {config.stash[_RUN].databases().source}"


@pytest.fixture(scope="session")
def databases(request: pytest.FixtureRequest) -> TestDatabases:
    """The databases of this run: makes new ones, removes them, touches no others."""
    workerinput = getattr(request.config, "workerinput", None)
    if workerinput is not None:
        return TestDatabases.at(workerinput[_ADDRESS])
    return request.config.stash[_RUN].databases()


@pytest.fixture(scope="session")
def database_url(databases: TestDatabases) -> Iterator[str]:
    """A database with all tables for this process; a test that writes rolls back."""
    url = databases.create()
    yield url
    databases.drop(url)


@pytest.fixture
def own_database_url(databases: TestDatabases) -> Iterator[str]:
    """A database with all tables for one test alone, which may commit."""
    url = databases.create()
    yield url
    databases.drop(url)


@pytest.fixture
def empty_database_url(databases: TestDatabases) -> Iterator[str]:
    """A database without tables for one test alone, which may migrate."""
    url = databases.create_empty()
    yield url
    databases.drop(url)


@pytest.fixture(scope="session")
def no_database_url(databases: TestDatabases) -> str:
    """An address at which no database answers."""
    return databases.nowhere()
