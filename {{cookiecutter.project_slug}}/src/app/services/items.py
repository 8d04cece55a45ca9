"""Items."""

# {% block imports %}
# {% endblock %}
from collections.abc import AsyncIterator, Container, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from app.core.errors import PreconditionFailed
from app.core.pages import Page, PageRequest
from app.core.ports import Cache, Events
from app.domain.items import (
    Item,
    ItemChanged,
    ItemCreated,
    ItemDeleted,
    ItemEvent,
    ItemFields,
    ItemFilter,
    ItemId,
    ItemNotFound,
    ItemSort,
    ItemStats,
    TooManyItems,
)
from app.infrastructure.database import Database
from app.repositories.items import ItemRepository

# {% block stats %}
_STATS_SECONDS = 60


@dataclass(frozen=True, slots=True)
class ItemStatsService:
    """Number of items by status, cached because counting reads all of them."""

    database: Database
    cache: Cache

    async def get(self, owner_id: UUID) -> ItemStats:
        """Return the number of an owner's items by status."""

        async def load() -> ItemStats:
            async with self.database.read() as connection:
                return await ItemRepository(connection).stats(owner_id)

        return await self.cache.remember(_stats_key(owner_id), _STATS_SECONDS, load, ItemStats)


def _stats_key(owner_id: UUID) -> str:
    return f"item-stats:{owner_id}"


# {% endblock %}
@dataclass(frozen=True, slots=True)
class ItemService:
    """Use cases of items. Events are published after the commit."""

    items: ItemRepository
    events: Events
    # {% block cache %}
    cache: Cache
    # {% endblock %}
    quota: int

    async def get(self, owner_id: UUID, item_id: ItemId) -> Item:
        """Return an item.

        Raises:
            ItemNotFound: The owner has no such item.
        """
        item = await self.items.get(owner_id, item_id)
        if item is None:
            raise ItemNotFound
        return item

    async def list(
        self, owner_id: UUID, where: ItemFilter, sort: ItemSort, request: PageRequest
    ) -> Page[Item]:
        """Return a page of items."""
        return await self.items.list(owner_id, where, sort, request)

    # {% block export %}
    def export(self, owner_id: UUID, where: ItemFilter) -> AsyncIterator[Sequence[Item]]:
        """Yield all items in batches, oldest first, in constant memory.

        Use a snapshot: the export lasts until the client has read everything.
        """
        return self.items.stream(owner_id, where)

    # {% endblock %}
    async def create(self, owner_id: UUID, fields: ItemFields) -> Item:
        """Create an item.

        Raises:
            TooManyItems: The owner has as many as the quota allows.
            InvalidToken: The owner was deleted in the meantime.
            # {% block refused_fields %}
            # {% endblock %}
        """
        # {% block checked_fields %}
        # {% endblock %}
        item = await self.items.create(owner_id, fields, self.quota)
        if item is None:
            raise TooManyItems(f"An account may have {self.quota}. Delete one first.")
        self._publish(ItemCreated(owner_id, item.id, item.version))
        return item

    async def update(
        self,
        owner_id: UUID,
        item_id: ItemId,
        changes: ItemFields,
        expected: Container[int] | None = None,
    ) -> Item:
        """Update an item, if it has one of the expected versions.

        Raises:
            ItemNotFound: The owner has no such item.
            PreconditionFailed: The item has another version.
            # {% block refused_changes %}
            # {% endblock %}
        """
        row = await self.items.lock_owned(owner_id, item_id)
        if row is None:
            raise ItemNotFound
        version = row.version
        if expected is not None and version not in expected:
            raise PreconditionFailed(version)
        # {% block checked_changes %}
        # {% endblock %}
        item = await self.items.update(row, changes)
        if item.version != version:
            self._publish(ItemChanged(owner_id, item.id, item.version))
        return item

    async def delete(
        self, owner_id: UUID, item_id: ItemId, expected: Container[int] | None = None
    ) -> None:
        """Delete an item, if it has one of the expected versions.

        Raises:
            ItemNotFound: The owner has no such item.
            PreconditionFailed: The item has another version.
        """
        row = await self.items.lock_owned(owner_id, item_id)
        if row is None:
            raise ItemNotFound
        if expected is not None and row.version not in expected:
            raise PreconditionFailed(row.version)
        await self.items.delete(row)
        self._publish(ItemDeleted(owner_id, item_id, row.version))

    # {% block references %}
    # {% endblock %}
    def _publish(self, event: ItemEvent) -> None:
        # {% block forgotten %}
        self.items.after_commit(partial(self.cache.forget, _stats_key(event.owner_id)))
        # {% endblock %}
        self.items.after_commit(partial(self.events.publish, event))
