"""What has happened, for whoever wants to know: told after the commit, and only then."""

from dataclasses import dataclass

from app.domain.ids import ItemId, UserId


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
