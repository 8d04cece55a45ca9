"""Items: the example resource."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NewType
from uuid import UUID

from typing_extensions import TypeAliasType

from app.core.errors import NotFound, PreconditionFailed
from app.domain.users import UserId
from app.infrastructure.http.entity_tags import names_tag

ItemId = NewType("ItemId", UUID)
ExportFormat = TypeAliasType("ExportFormat", Literal["csv", "ndjson"])
ItemStatus = TypeAliasType("ItemStatus", Literal["draft", "active", "archived"])
ItemSort = TypeAliasType(
    "ItemSort",
    Literal["created_at", "-created_at", "updated_at", "-updated_at", "title", "-title"],
)


class ItemNotFound(NotFound):
    """No such item, or another's."""

    code = "item_not_found"
    title = "There is no such item"


@dataclass(frozen=True, slots=True)
class Item:
    """An item as it is read.

    Attributes:
        version: Counts its changes; the `ETag` is made of it.
    """

    id: ItemId
    title: str
    description: str
    status: ItemStatus
    version: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class ItemContent:
    """All of an item that its owner decides."""

    title: str
    description: str
    status: ItemStatus


@dataclass(frozen=True, slots=True)
class ItemChanges:
    """Some of what its owner decides; `None` leaves it as it is."""

    title: str | None = None
    description: str | None = None
    status: ItemStatus | None = None


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """Which of the owner's items a list holds; `None` means all.

    Attributes:
        search: Text that the title or the description contains, in any case.
        created_from: Created at this moment or later.
        created_before: Created earlier than this moment.
    """

    status: ItemStatus | None = None
    search: str | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class ItemEvent:
    """Something has happened to an item.

    Attributes:
        owner_id: Whose it is.
        item_id: Which item.
        version: Counts its changes; of one that is deleted, the last.
    """

    owner_id: UserId
    item_id: ItemId
    version: int


@dataclass(frozen=True, slots=True)
class ItemCreated(ItemEvent):
    """There is a new item."""


@dataclass(frozen=True, slots=True)
class ItemChanged(ItemEvent):
    """An item has another version."""


@dataclass(frozen=True, slots=True)
class ItemDeleted(ItemEvent):
    """An item is gone."""


Event = ItemCreated | ItemChanged | ItemDeleted


def etag(version: int) -> str:
    """Return the entity tag of an item's version (RFC 9110 §8.8.3)."""
    return f'"{version}"'


def etag_matches(header: str, version: int, *, weak: bool = False) -> bool:
    """Tell whether an `If-Match` or `If-None-Match` header names this version.

    Args:
        header: `*` or a list of entity tags.
        version: The version that is stored.
        weak: Whether weak tags count, as they do for `If-None-Match` (RFC 9110 §13.1.2).
    """
    return names_tag(header, etag(version), weak=weak)


def require_match(header: str | None, version: int) -> None:
    """Pass if the client's `If-Match` names the stored version, or if it sent none.

    Raises:
        PreconditionFailed: It names others, as when another request has changed the item since.
    """
    if header is not None and not etag_matches(header, version):
        raise PreconditionFailed(
            f"`If-Match` does not name {etag(version)}, the version that is stored. Read the item"
            " again, and send its `ETag` with the quotes."
        )
