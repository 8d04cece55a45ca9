"""Items, stored."""

from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import Select, select

from app import models
from app.domain.ids import ItemId, UserId
from app.domain.items import Item, ItemFilter, ItemSort
from app.domain.pages import Page, PageRequest
from app.repositories.base import Reader, Repository, Sorts, columns_of, table_of

_EXPORT_BATCH = 500

_items = table_of(models.Item).c
_ITEM = columns_of(models.Item, Item)
_SORTS: Sorts = {
    "created_at": _items.created_at,
    "updated_at": _items.updated_at,
    "title": _items.title,
}


class ItemReader(Reader):
    """Reads items; those of others are not found."""

    async def one(self, owner_id: UserId, item_id: ItemId) -> Item | None:
        """Return one item of an owner."""
        statement = select(*_ITEM).where(_items.id == item_id, _items.owner_id == owner_id)
        return await self._one(statement, Item)

    async def page(
        self, owner_id: UserId, wanted: ItemFilter, sort: ItemSort, page: PageRequest
    ) -> Page[Item]:
        """Return a page of an owner's items.

        Raises:
            InvalidInput: The cursor is not one of this list.
        """
        return await self._page(
            _selected(owner_id, wanted), Item, page, sort=sort, sorts=_SORTS, id_column=_items.id
        )

    async def stream(self, owner_id: UserId, wanted: ItemFilter) -> AsyncIterator[list[Item]]:
        """Yield an owner's items in batches, oldest first, straight from a database cursor."""
        statement = _selected(owner_id, wanted).order_by(_items.created_at, _items.id)
        options = {"yield_per": _EXPORT_BATCH}
        result = await self._connection.stream(statement, execution_options=options)
        async for rows in result.partitions():
            yield [Item(*row) for row in rows]


class ItemRepository(ItemReader, Repository[models.Item]):
    """Stores items."""

    entity = models.Item


def _selected(owner_id: UserId, wanted: ItemFilter) -> Select[Any]:
    statement = select(*_ITEM).where(_items.owner_id == owner_id)
    if wanted.status is not None:
        statement = statement.where(_items.status == wanted.status)
    if wanted.created_from is not None:
        statement = statement.where(_items.created_at >= wanted.created_from)
    if wanted.created_before is not None:
        statement = statement.where(_items.created_at < wanted.created_before)
    if wanted.search is not None:
        found = _items.title.icontains(wanted.search, autoescape=True)
        found |= _items.description.icontains(wanted.search, autoescape=True)
        statement = statement.where(found)
    return statement
