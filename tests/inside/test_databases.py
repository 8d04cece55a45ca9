"""DB11: tests refuse any database that was not created for them."""

import pytest
from sqlalchemy.engine import make_url
from tests.support.databases import NotATestDatabase, TestDatabases, require_test_database


def test_names_a_database_that_was_made_for_tests(database_url: str) -> None:
    assert require_test_database(database_url) == make_url(database_url).database


def test_refuses_every_other(databases: TestDatabases, database_url: str) -> None:
    ours = make_url(database_url)
    for name in ("app", f"{ours.database}-copy"):
        other = ours.set(database=name).render_as_string(hide_password=False)
        with pytest.raises(NotATestDatabase, match="is not a database that the tests have made"):
            databases.drop(other)
