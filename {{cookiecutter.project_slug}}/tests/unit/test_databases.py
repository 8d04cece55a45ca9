"""DB11: the tests touch no database that was not made for them."""

import pytest
from sqlalchemy.engine import make_url

from app.core.config import DatabaseSettings
from tests.support.databases import NotATestDatabase, TestDatabases, require_test_database


@pytest.fixture(params=["of development", "with a similar name"])
def other_url(request: pytest.FixtureRequest, database_url: str) -> str:
    """Address of a database that may hold somebody's data."""
    if request.param == "of development":
        return DatabaseSettings().url.get_secret_value()
    ours = make_url(database_url)
    return ours.set(database=f"{ours.database}-copy").render_as_string(hide_password=False)


def test_names_a_database_that_was_made_for_tests(database_url: str) -> None:
    assert require_test_database(database_url) == make_url(database_url).database


def test_refuses_a_database_that_was_not(other_url: str) -> None:
    with pytest.raises(NotATestDatabase, match="is not a database that the tests have made"):
        require_test_database(other_url)


def test_drops_no_database_that_was_not(databases: TestDatabases, other_url: str) -> None:
    with pytest.raises(NotATestDatabase):
        databases.drop(other_url)
