"""Storage of items."""

from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Integer, Select, bindparam, func, insert, literal, select

from app.core.pages import Page, PageRequest
from app.domain.items import Item, ItemFields, ItemFilter, ItemId, ItemSort, ItemStats
from app.infrastructure.database import Repository, in_orders
from app.infrastructure.database.repository import columns_of, read_as, table_of
from app.models.items import Item as ItemRow

_EXPORT_BATCH = 500

_items = table_of(ItemRow).c
_COLUMNS = columns_of(ItemRow, Item)
_OWNED = select(*_COLUMNS).where(_items.owner_id == bindparam("owner_id"))
_BY_ID = _OWNED.where(_items.id == bindparam("item_id"))
_LISTS = in_orders(_OWNED, ItemRow, "created_at", "updated_at", "title")
_STATS = (
    select(_items.status, func.count())
    .where(_items.owner_id == bindparam("owner_id"))
    .group_by(_items.status)
)
_EXPORT = _OWNED.order_by(_items.created_at, _items.id)
# One statement with the check of the quota, because creation is frequent.
_FIELDS = ("owner_id", "title", "description", "status", "version")
_QUOTA_IS_USED = (
    select(literal(1))
    .where(_items.owner_id == bindparam("new_owner_id"))
    .offset(bindparam("others", type_=Integer()))
    .limit(1)
    .exists()
)
_INSERT = (
    insert(table_of(ItemRow))
    .from_select(
        _FIELDS,
        select(*(bindparam(f"new_{name}", type_=_items[name].type) for name in _FIELDS)).where(
            ~_QUOTA_IS_USED
        ),
    )
    .returning(*_COLUMNS)
)


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

    async def stats(self, owner_id: UUID) -> ItemStats:
        """Count items by status."""
        result: Any = await self.session.execute(_STATS, {"owner_id": owner_id})
        return ItemStats(**dict(result.all()))

    async def stream(self, owner_id: UUID, where: ItemFilter) -> AsyncIterator[Sequence[Item]]:
        """Yield all items in batches, oldest first, from a database cursor."""
        result = await self.session.stream(
            _filtered(_EXPORT, where),
            {"owner_id": owner_id},
            execution_options={"yield_per": _EXPORT_BATCH},
        )
        async for rows in result.partitions():
            yield [Item(*row) for row in rows]

    async def create(self, owner_id: UUID, fields: ItemFields, quota: int) -> Item | None:
        """Insert an item, unless its owner has as many as the quota allows.

        A plain INSERT costs less than an entity, whose changes the session tracks.
        """
        values = {**fields, "owner_id": owner_id, "version": 1}
        parameters = {f"new_{name}": value for name, value in values.items()}
        result = await self.session.execute(_INSERT, {**parameters, "others": quota - 1})
        row: Sequence[Any] | None = result.first()
        return None if row is None else Item(*row)

    async def lock_owned(self, owner_id: UUID, item_id: ItemId) -> ItemRow | None:
        """Return the row of an item, locked until the transaction ends."""
        row = await self.lock(item_id)
        return row if row is not None and row.owner_id == owner_id else None

    async def update(self, row: ItemRow, changes: ItemFields) -> Item:
        """Update an item; its version rises if a field changes."""
        await self.save(row, changes)
        return read_as(Item, row)


def _filtered(statement: Select[Any], where: ItemFilter) -> Select[Any]:
    if where.status is not None:
        statement = statement.where(_items.status == where.status)
    if where.created_from is not None:
        statement = statement.where(_items.created_at >= where.created_from)
    if where.created_before is not None:
        statement = statement.where(_items.created_at < where.created_before)
    if where.search is not None:
        statement = statement.where(
            _items.title.icontains(where.search, autoescape=True)
            | _items.description.icontains(where.search, autoescape=True)
        )
    return statement
