"""Items: the example resource."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

from app import models
from app.core.pages import Page, PageRequest
from app.core.ports import Events
from app.domain.items import (
    Event,
    Item,
    ItemChanged,
    ItemChanges,
    ItemContent,
    ItemCreated,
    ItemDeleted,
    ItemFilter,
    ItemId,
    ItemNotFound,
    ItemSort,
    require_match,
)
from app.domain.users import UserId
from app.infrastructure.database.session import Session
from app.repositories.items import ItemReader, ItemRepository


@dataclass(frozen=True, slots=True)
class ItemQueries:
    """Reads items; another owner's are not found."""

    items: ItemReader

    async def one(self, owner_id: UserId, item_id: ItemId) -> Item:
        """Return one item.

        Raises:
            ItemNotFound: The owner has none of this id.
        """
        item = await self.items.one(owner_id, item_id)
        if item is None:
            raise ItemNotFound
        return item

    async def page(
        self, owner_id: UserId, wanted: ItemFilter, sort: ItemSort, page: PageRequest
    ) -> Page[Item]:
        """Return a page of an owner's items.

        Raises:
            InvalidInput: The cursor is not one of this list.
        """
        return await self.items.page(owner_id, wanted, sort, page)

    def export(self, owner_id: UserId, wanted: ItemFilter) -> AsyncIterator[list[Item]]:
        """Yield all of an owner's items in batches, oldest first, in constant memory.

        It reads for as long as the client does, so it needs a connection of its own: a snapshot.
        """
        return self.items.stream(owner_id, wanted)


@dataclass(frozen=True, slots=True)
class ItemService:
    """Creates, changes and deletes items, inside the transaction of a session.

    What has happened is told once the transaction is committed.
    """

    items: ItemRepository
    session: Session
    events: Events

    async def create(self, owner_id: UserId, content: ItemContent) -> Item:
        """Create an item.

        Raises:
            InvalidToken: The owner was deleted meanwhile.
        """
        item = await self.items.create(owner_id, content)
        self._tell(ItemCreated(owner_id, item.id, item.version))
        return item

    async def replace(
        self, owner_id: UserId, item_id: ItemId, content: ItemContent, if_match: str | None
    ) -> Item:
        """Replace all that its owner decides of an item.

        Args:
            owner_id: Who asks.
            item_id: Which item.
            content: What it is from now on.
            if_match: The versions that the client expects, if it cares.

        Raises:
            ItemNotFound: The owner has none of this id.
            PreconditionFailed: It has another version.
        """
        changes = ItemChanges(content.title, content.description, content.status)
        return await self.change(owner_id, item_id, changes, if_match)

    async def change(
        self, owner_id: UserId, item_id: ItemId, changes: ItemChanges, if_match: str | None
    ) -> Item:
        """Change some of an item.

        Args:
            owner_id: Who asks.
            item_id: Which item.
            changes: What is to be different.
            if_match: The versions that the client expects, if it cares.

        Raises:
            ItemNotFound: The owner has none of this id.
            PreconditionFailed: It has another version.
        """
        row = await self._existing(owner_id, item_id, if_match)
        version = row.version
        if changes.title is not None:
            row.title = changes.title
        if changes.description is not None:
            row.description = changes.description
        if changes.status is not None:
            row.status = changes.status
        item = _item(await self.items.save(row))
        if item.version != version:
            self._tell(ItemChanged(owner_id, item.id, item.version))
        return item

    async def delete(self, owner_id: UserId, item_id: ItemId, if_match: str | None) -> None:
        """Delete an item.

        Args:
            owner_id: Who asks.
            item_id: Which item.
            if_match: The versions that the client expects, if it cares.

        Raises:
            ItemNotFound: The owner has none of this id.
            PreconditionFailed: It has another version.
        """
        row = await self._existing(owner_id, item_id, if_match)
        await self.items.delete(row)
        self._tell(ItemDeleted(owner_id, item_id, row.version))

    async def _existing(
        self, owner_id: UserId, item_id: ItemId, if_match: str | None
    ) -> models.Item:
        item = await self.items.get(item_id)
        if item is None or item.owner_id != owner_id:
            raise ItemNotFound
        require_match(if_match, item.version)
        return item

    def _tell(self, event: Event) -> None:
        self.session.after_commit(partial(self.events.publish, event))


def _item(row: models.Item) -> Item:
    return Item(
        id=ItemId(row.id),
        title=row.title,
        description=row.description,
        status=row.status,
        version=row.version,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
