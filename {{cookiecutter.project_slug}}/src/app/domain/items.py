"""Items."""

# {% block imports %}
# {% endblock %}
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Final, Literal, NewType, TypedDict
from uuid import UUID

from typing_extensions import TypeAliasType

from app.core.errors import Conflict, NotFound

ItemId = NewType("ItemId", UUID)
# {% block types %}
ItemPermission = Literal["items:read", "items:write"]
ItemStatus = TypeAliasType("ItemStatus", Literal["draft", "active", "archived"])
ItemSort = TypeAliasType(
    "ItemSort", Literal["created_at", "-created_at", "updated_at", "-updated_at", "title", "-title"]
)
# {% endblock %}

PERMISSIONS: Final[dict[ItemPermission, str]] = {
    # {% block permissions %}
    "items:read": "Read your items.",
    # {% endblock %}
    "items:write": "Create, change and delete your items.",
}


class ItemNotFound(NotFound):
    """The item does not exist or belongs to another user."""

    code = "item_not_found"
    title = "Item not found"


class TooManyItems(Conflict):
    """The owner has as many items as an account may have."""

    code = "too_many_items"
    title = "Too many items"


# {% block errors %}
# {% endblock %}
@dataclass(frozen=True, slots=True)
class Item:
    """An item.

    Attributes:
        version: Number of changes, plus one.
    """

    id: ItemId
    # {% block fields %}
    title: str
    description: str
    status: ItemStatus
    # {% endblock %}
    version: int
    created_at: datetime
    updated_at: datetime


# {% block columns %}
ITEM_COLUMNS: Final = tuple(field.name for field in fields(Item))
"""Columns of an export."""


# {% endblock %}
# {% block stats %}
@dataclass(frozen=True, slots=True)
class ItemStats:
    """Numbers of items by status."""

    draft: int = 0
    active: int = 0
    archived: int = 0

    @property
    def total(self) -> int:
        """Return the number of all items."""
        return self.draft + self.active + self.archived


# {% endblock %}
class ItemFields(TypedDict, total=False):
    """Fields that the owner sets: all of a new item, some in an update."""

    # {% block updates %}
    title: str
    description: str
    status: ItemStatus
    # {% endblock %}


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """Conditions of a list; `None` means any.

    Attributes:
        # {% block searched %}
        search: Text in the title or description, ignoring case.
        # {% endblock %}
        created_from: Earliest time of creation.
        created_before: Time before which the item was created.
    """

    # {% block conditions %}
    status: ItemStatus | None = None
    search: str | None = None
    # {% endblock %}
    created_from: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class ItemEvent:
    """A change of an item.

    Attributes:
        version: Version after the change; of a deleted item, the last.
    """

    owner_id: UUID
    item_id: ItemId
    version: int


@dataclass(frozen=True, slots=True)
class ItemCreated(ItemEvent):
    """An item was created."""


@dataclass(frozen=True, slots=True)
class ItemChanged(ItemEvent):
    """An item was updated."""


@dataclass(frozen=True, slots=True)
class ItemDeleted(ItemEvent):
    """An item was deleted."""
