"""Databases for tests."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager

import pytest

from tests.support.databases import TestDatabases
from tests.support.servers import server


def pytest_run_servers() -> Mapping[str, Callable[[], AbstractContextManager[TestDatabases]]]:
    return {"databases": TestDatabases.started}


@pytest.fixture(scope="session")
def databases(request: pytest.FixtureRequest) -> TestDatabases:
    """The databases of this run: creates and removes its own, and touches no others."""
    return TestDatabases(**server(request.config, "databases"))


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
    """Return an address without a database."""
    return databases.nowhere()
