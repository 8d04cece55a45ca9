"""Messages between users."""

from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from app.core.clock import utc_now
from app.domain.realtime import user_channel
from app.infrastructure.http.schemas import EXAMPLE_ID, TEXT
from app.infrastructure.realtime import (
    ClientMessage,
    Connection,
    FeatureMessages,
    Hub,
    ServerMessage,
)
from app.infrastructure.realtime.messages import TYPE, SenderResponse

_Text = Annotated[
    str,
    StringConstraints(min_length=1, max_length=4000, pattern=TEXT),
    Field(description="Text.", examples=["Good morning"]),
]


class SayMessage(ClientMessage):
    """Send a text to the channel."""

    type: Literal["say"] = Field(description=TYPE, examples=["say"])
    text: _Text


class TellMessage(ClientMessage):
    """Send a text to one user's own channel; requires `users:read`."""

    type: Literal["tell"] = Field(description=TYPE, examples=["tell"])
    user_id: UUID = Field(description="ID of the user.", examples=[EXAMPLE_ID])
    text: _Text


class AnnounceMessage(ClientMessage):
    """Send a text to all connected users; requires `users:write`."""

    type: Literal["announce"] = Field(description=TYPE, examples=["announce"])
    text: _Text


class SpokenMessage(ServerMessage):
    """A text from a user to the channel, to you, or to everyone."""

    type: Literal["said", "told", "announced"] = Field(description=TYPE, examples=["said"])
    sender: SenderResponse = Field(description="Sender.")
    text: str = Field(description="Text.", examples=["Good morning"])
    sent_at: datetime = Field(description="Time in UTC.", examples=["2026-11-21T10:30:00Z"])


def spoken(
    kind: Literal["said", "told", "announced"], sender: SenderResponse, text: str
) -> SpokenMessage:
    """Return the message of a text."""
    return SpokenMessage(type=kind, sender=sender, text=text, sent_at=utc_now())


async def _say(message: SayMessage, connection: Connection, hub: Hub) -> None:
    client = connection.client
    hub.publish(spoken("said", client.sender, message.text), client.channel)


async def _tell(message: TellMessage, connection: Connection, hub: Hub) -> None:
    client = connection.client
    client.require("users:read")
    hub.publish(spoken("told", client.sender, message.text), user_channel(message.user_id))


async def _announce(message: AnnounceMessage, connection: Connection, hub: Hub) -> None:
    client = connection.client
    client.require("users:write")
    hub.publish(spoken("announced", client.sender, message.text))


MESSAGES: Final = FeatureMessages(
    handlers={SayMessage: _say, TellMessage: _tell, AnnounceMessage: _announce},
    sent=(SpokenMessage,),
)
