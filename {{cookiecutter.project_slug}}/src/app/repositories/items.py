"""Items, stored."""

import re
from collections.abc import AsyncIterator
from typing import Any, Final

from sqlalchemy import Select, bindparam, insert, select

from app import models
from app.core.pages import Page, PageRequest
from app.domain.items import Item, ItemContent, ItemFilter, ItemId, ItemSort
from app.domain.users import UserId
from app.infrastructure.database.repository import Reader, Repository, Sorts, columns_of, table_of
from app.infrastructure.database.statements import Statement

_EXPORT_BATCH = 500
_ESCAPE: Final = "/"
_SPECIAL: Final = re.compile(r"[%_/]")
"""What a search takes as it is, and `LIKE` does not."""

_items = table_of(models.Item).c
_ITEM = columns_of(models.Item, Item)
_INSERT = insert(table_of(models.Item)).returning(*_ITEM)
_SORTS: Sorts = {
    "created_at": _items.created_at,
    "updated_at": _items.updated_at,
    "title": _items.title,
}


class ItemReader(Reader):
    """Reads items; those of others are not found."""

    async def one(self, owner_id: UserId, item_id: ItemId) -> Item | None:
        """Return one item of an owner."""
        return await self._one(Statement(_of_id), Item, item_id=item_id, owner_id=owner_id)

    async def page(
        self, owner_id: UserId, wanted: ItemFilter, sort: ItemSort, page: PageRequest
    ) -> Page[Item]:
        """Return a page of an owner's items.

        Raises:
            InvalidInput: The cursor is not one of this list.
        """
        values = _values(owner_id, wanted)
        statement = Statement(_selected, tuple(values))
        return await self._page(
            statement, Item, page, sort=sort, sorts=_SORTS, id_column=_items.id, **values
        )

    async def stream(self, owner_id: UserId, wanted: ItemFilter) -> AsyncIterator[list[Item]]:
        """Yield an owner's items in batches, oldest first, straight from a database cursor."""
        values = _values(owner_id, wanted)
        statement = _selected(*values).order_by(_items.created_at, _items.id)
        options = {"yield_per": _EXPORT_BATCH}
        result = await self._connection.stream(statement, values, execution_options=options)
        async for rows in result.partitions():
            yield [Item(*row) for row in rows]


class ItemRepository(ItemReader, Repository[models.Item]):
    """Stores items."""

    entity = models.Item

    async def create(self, owner_id: UserId, content: ItemContent) -> Item:
        """Store a new item, and return it as it is stored.

        As there is nothing yet that could have changed, no entity has to keep account of it.

        Raises:
            Conflict: A constraint forbids it.
        """
        values = {
            "owner_id": owner_id,
            "title": content.title,
            "description": content.description,
            "status": content.status,
            "version": 1,
        }
        return Item(*(await self._session.execute(_INSERT, values)).one())


def _of_id() -> Select[Any]:
    return select(*_ITEM).where(
        _items.id == bindparam("item_id"), _items.owner_id == bindparam("owner_id")
    )


def _selected(*names: str) -> Select[Any]:
    """Select an owner's items by the conditions whose values have these names."""
    statement = select(*_ITEM).where(_items.owner_id == bindparam("owner_id"))
    conditions = {
        "status": _items.status == bindparam("status"),
        "created_from": _items.created_at >= bindparam("created_from"),
        "created_before": _items.created_at < bindparam("created_before"),
        "search": _items.title.icontains(bindparam("search"), escape=_ESCAPE)
        | _items.description.icontains(bindparam("search"), escape=_ESCAPE),
    }
    return statement.where(*(conditions[name] for name in names if name in conditions))


def _values(owner_id: UserId, wanted: ItemFilter) -> dict[str, object]:
    values: dict[str, object] = {"owner_id": owner_id}
    if wanted.status is not None:
        values["status"] = wanted.status
    if wanted.created_from is not None:
        values["created_from"] = wanted.created_from
    if wanted.created_before is not None:
        values["created_before"] = wanted.created_before
    if wanted.search is not None:
        values["search"] = _SPECIAL.sub(rf"{_ESCAPE}\g<0>", wanted.search)
    return values
