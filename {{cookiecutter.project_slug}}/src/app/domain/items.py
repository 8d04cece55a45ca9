"""Items: the example resource."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from typing_extensions import TypeAliasType

from app.domain.entity_tags import names_tag
from app.domain.errors import PreconditionFailed
from app.domain.ids import ItemId

ExportFormat = TypeAliasType("ExportFormat", Literal["csv", "ndjson"])
ItemStatus = TypeAliasType("ItemStatus", Literal["draft", "active", "archived"])
ItemSort = TypeAliasType(
    "ItemSort",
    Literal["created_at", "-created_at", "updated_at", "-updated_at", "title", "-title"],
)


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
