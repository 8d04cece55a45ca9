"""Messages about items."""

from typing import Final, Literal
from uuid import UUID

from pydantic import Field

from app.domain.items import ItemChanged, ItemCreated, ItemDeleted, ItemEvent
from app.domain.realtime import user_channel
from app.infrastructure.http.schemas import EXAMPLE_ID
from app.infrastructure.realtime import FeatureMessages, ServerMessage
from app.infrastructure.realtime.messages import TYPE

_Type = Literal["item_created", "item_changed", "item_deleted"]
_TYPES: Final[dict[type[ItemEvent], _Type]] = {
    ItemCreated: "item_created",
    ItemChanged: "item_changed",
    ItemDeleted: "item_deleted",
}


class ItemMessage(ServerMessage):
    """One of your items has changed. Sent to your own channel, after the commit."""

    type: _Type = Field(description=TYPE, examples=["item_changed"])
    item_id: UUID = Field(description="ID of the item.", examples=[EXAMPLE_ID])
    version: int = Field(description="Version; of a deleted item, the last one.", examples=[2])


def _announce(event: ItemEvent) -> tuple[ItemMessage, str]:
    message = ItemMessage(type=_TYPES[type(event)], item_id=event.item_id, version=event.version)
    return message, user_channel(event.owner_id)


MESSAGES: Final = FeatureMessages(
    sent=(ItemMessage,),
    announced=dict.fromkeys(_TYPES, _announce),
)
