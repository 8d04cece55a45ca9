"""Where events go: to the log, and to whoever is connected."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Literal

from app.config import Settings
from app.domain.items import ItemChanged, ItemCreated, ItemDeleted, ItemEvent
from app.domain.realtime import ItemNotice, channel_of
from app.domain.users import UserId
from app.infrastructure.events.logged import LoggedEvents
from app.infrastructure.realtime import Hub

_TYPES: Final[dict[type[ItemEvent], Literal["item_created", "item_changed", "item_deleted"]]] = {
    ItemCreated: "item_created",
    ItemChanged: "item_changed",
    ItemDeleted: "item_deleted",
}


class LiveEvents(LoggedEvents):
    """Has owners hear at once what happens to what is theirs.

    Attributes:
        hub: Who is connected.
    """

    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    async def publish(self, event: object) -> None:
        """Write down what has happened, and tell the owner."""
        if not isinstance(event, ItemEvent):
            raise TypeError(type(event))
        await super().publish(event)
        notice = ItemNotice(_TYPES[type(event)], event.item_id, event.version)
        self.hub.publish(notice, channel_of(UserId(event.owner_id)))


@asynccontextmanager
async def open_events(settings: Settings) -> AsyncIterator[LiveEvents]:
    """Yield what takes events, with the hub that has them heard."""
    async with Hub.open(settings) as hub:
        yield LiveEvents(hub)
