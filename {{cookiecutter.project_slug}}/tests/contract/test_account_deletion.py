"""An account can be deleted, with everything it owns."""

from collections.abc import Collection, Mapping

import pytest
from sqlalchemy import ForeignKey, select
from starlette.testclient import TestClient

from app.models import Base
from tests.support.arrange import ArrangeSync

TABLES = Base.metadata.sorted_tables
KEYS = [key for table in TABLES for key in table.foreign_keys]


def owned(keys: Collection[ForeignKey]) -> set[str]:
    """Return `users` and the tables whose foreign keys lead to it."""
    tables = {"users"}
    for key in keys:
        if key.column.table.name in tables:
            tables.add(key.parent.table.name)
    return tables


def tables_with(arrange: ArrangeSync, rows: Mapping[str, Mapping[str, object]]) -> set[str]:
    """Return the tables that have these rows."""
    return {
        table.name
        for table in TABLES
        if arrange.rows(
            select(table).where(
                *(column == rows[table.name][column.name] for column in table.primary_key)
            )
        )
    }


@pytest.mark.parametrize(
    "key",
    [each for each in KEYS if each.column.table.name in owned(KEYS)],
    ids=lambda each: str(each.parent),
)
def test_no_foreign_key_keeps_a_row_of_an_account(key: ForeignKey) -> None:
    assert key.ondelete == "CASCADE" or (key.ondelete == "SET NULL" and key.parent.nullable)


@pytest.mark.parametrize("by_administrator", [False, True])
def test_takes_its_rows_with_it(
    client: TestClient, arrange: ArrangeSync, by_administrator: bool
) -> None:
    """Rows stay where no key says `CASCADE`."""
    tables = owned([each for each in KEYS if each.ondelete == "CASCADE"])
    admin, owner = arrange.account(role="admin"), arrange.account()
    rows = arrange.a_row_of_each_table(owner)
    assert tables_with(arrange, rows) >= tables

    headers = admin.headers if by_administrator else owner.headers
    path = str(owner.id) if by_administrator else "me"
    assert client.delete(f"/api/v1/users/{path}", headers=headers).status_code == 204
    assert tables_with(arrange, rows).isdisjoint(tables)
