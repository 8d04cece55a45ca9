"""Storage of items."""

# {% block imports %}
# {% endblock %}
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Select, bindparam, func, select

from app.core.pages import Page, PageRequest
from app.domain.items import Item, ItemFields, ItemFilter, ItemId, ItemSort, ItemStats
from app.infrastructure.database import Repository, in_orders
from app.infrastructure.database.repository import (
    columns_of,
    insert_within_quota,
    read_as,
    table_of,
)
from app.models.items import Item as ItemRow

# {% block batch %}
_EXPORT_BATCH = 500

# {% endblock %}
_items = table_of(ItemRow).c
_COLUMNS = columns_of(ItemRow, Item)
_OWNED = select(*_COLUMNS).where(_items.owner_id == bindparam("owner_id"))
_BY_ID = _OWNED.where(_items.id == bindparam("item_id"))
# {% block orders %}
_LISTS = in_orders(_OWNED, ItemRow, "created_at", "updated_at", "title")
# {% endblock %}
# {% block stats %}
_STATS = (
    select(_items.status, func.count())
    .where(_items.owner_id == bindparam("owner_id"))
    .group_by(_items.status)
)
# {% endblock %}
# {% block export %}
_EXPORT = _OWNED.order_by(_items.created_at, _items.id)
# {% endblock %}
# {% block conditions %}
# {% endblock %}
_INSERT = insert_within_quota(ItemRow, Item, *ItemFields.__annotations__)


class ItemRepository(Repository[ItemRow]):
    """Reads and writes items; those of other owners are not found."""

    model = ItemRow

    async def get(self, owner_id: UUID, item_id: ItemId) -> Item | None:
        """Return an item."""
        return await self.one(_BY_ID, Item, item_id=item_id, owner_id=owner_id)

    async def list(
        self, owner_id: UUID, where: ItemFilter, sort: ItemSort, request: PageRequest
    ) -> Page[Item]:
        """Return a page of items."""
        statement = _filtered(_LISTS[sort], where)
        return await self.page(statement, Item, request, sort=sort, owner_id=owner_id)

    # {% block count %}
    async def stats(self, owner_id: UUID) -> ItemStats:
        """Count items by status."""
        result: Any = await self.session.execute(_STATS, {"owner_id": owner_id})
        return ItemStats(**dict(result.all()))

    # {% endblock %}
    # {% block stream %}
    async def stream(self, owner_id: UUID, where: ItemFilter) -> AsyncIterator[Sequence[Item]]:
        """Yield all items in batches, oldest first, from a database cursor."""
        result = await self.session.stream(
            _filtered(_EXPORT, where),
            {"owner_id": owner_id},
            execution_options={"yield_per": _EXPORT_BATCH},
        )
        async for rows in result.partitions():
            yield [Item(*row) for row in rows]

    # {% endblock %}
    # {% block relations %}
    # {% endblock %}
    async def create(self, owner_id: UUID, fields: ItemFields, quota: int) -> Item | None:
        """Insert an item, unless its owner has as many as the quota allows."""
        return await self.insert(_INSERT, Item, quota, owner_id=owner_id, **fields)

    async def lock_owned(self, owner_id: UUID, item_id: ItemId) -> ItemRow | None:
        """Return the row of an item, locked until the transaction ends."""
        row = await self.lock(item_id)
        return row if row is not None and row.owner_id == owner_id else None

    async def update(self, row: ItemRow, changes: ItemFields) -> Item:
        """Update an item; its version rises if a field changes."""
        await self.save(row, changes)
        return read_as(Item, row)


def _filtered(statement: Select[Any], where: ItemFilter) -> Select[Any]:
    # {% block filters %}
    if where.status is not None:
        statement = statement.where(_items.status == where.status)
    # {% endblock %}
    if where.created_from is not None:
        statement = statement.where(_items.created_at >= where.created_from)
    if where.created_before is not None:
        statement = statement.where(_items.created_at < where.created_before)
    # {% block search %}
    if where.search is not None:
        statement = statement.where(
            _items.title.icontains(where.search, autoescape=True)
            | _items.description.icontains(where.search, autoescape=True)
        )
    # {% endblock %}
    return statement
