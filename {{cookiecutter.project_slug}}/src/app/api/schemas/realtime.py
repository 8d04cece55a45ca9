"""Live events at the boundary: what clients send, and what they hear."""

from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import Discriminator, Field, StringConstraints, TypeAdapter

from app.infrastructure.http.schemas import EXAMPLE_ID, TEXT, InputModel, ResponseModel

_EXAMPLE_MOMENT: Final = "2026-11-21T10:30:00Z"
_TEXT: Final = "What is said."
Said = Annotated[
    str,
    StringConstraints(min_length=1, max_length=4000, pattern=TEXT),
    Field(description=_TEXT, examples=["Good morning"]),
]


class TicketResponse(ResponseModel):
    """A ticket: good for one WebSocket, and for a short time."""

    ticket: str = Field(
        description="Send it as `?ticket=…` when you open the WebSocket.",
        examples=["tk_Qm8nB1xZ7kL5pW0tY2rE4uI6oA9sDfGhJkLzXcVbMnQ"],
    )
    expires_in: int = Field(description="Its life, in seconds.", examples=[30])


class SayMessage(InputModel):
    """Say something to all who are in the channel."""

    type: Literal["say"] = Field(description="What is wanted.", examples=["say"])
    text: Said


class TellMessage(InputModel):
    """Say something to one user, in the user's own channel; needs `users:read`."""

    type: Literal["tell"] = Field(description="What is wanted.", examples=["tell"])
    user_id: UUID = Field(description="Whom.", examples=[EXAMPLE_ID])
    text: Said


class AnnounceMessage(InputModel):
    """Say something to everybody who is connected; needs `users:write`."""

    type: Literal["announce"] = Field(description="What is wanted.", examples=["announce"])
    text: Said


class WhoMessage(InputModel):
    """Ask who is in the channel; a `present` answers."""

    type: Literal["who"] = Field(description="What is wanted.", examples=["who"])


class PingMessage(InputModel):
    """Ask for a sign of life; a `pong` answers. The server itself sends pings of the protocol."""

    type: Literal["ping"] = Field(description="What is wanted.", examples=["ping"])
    nonce: str = Field(
        "",
        max_length=64,
        pattern=TEXT,
        description="Comes back with the answer.",
        examples=["17"],
    )


ClientMessage = Annotated[
    SayMessage | TellMessage | AnnounceMessage | WhoMessage | PingMessage, Discriminator("type")
]
CLIENT_MESSAGE: Final[TypeAdapter[ClientMessage]] = TypeAdapter(ClientMessage)
"""Reads what clients send."""


class SenderResponse(ResponseModel):
    """Whoever says something."""

    user_id: UUID = Field(description="Id of the user.", examples=[EXAMPLE_ID])
    username: str = Field(description="The user's name.", examples=["ada"])


class MemberResponse(SenderResponse):
    """A connection to the channel; a user with several clients has several."""

    connection_id: UUID = Field(description="Id of the connection.", examples=[EXAMPLE_ID])


class WelcomeMessage(ResponseModel):
    """The first message: from here on, nothing that is said in the channel is missed."""

    type: Literal["welcome"] = Field(description="What it is about.", examples=["welcome"])
    connection_id: UUID = Field(description="Your id in this channel.", examples=[EXAMPLE_ID])
    channel: str = Field(description="The channel.", examples=["lobby"])
    members: list[MemberResponse] = Field(
        description="Who is there, you included; not all, if there are many.",
    )
    total: int = Field(
        description="How many are there.",
        examples=[1],
    )


class PresentMessage(ResponseModel):
    """Who is in the channel."""

    type: Literal["present"] = Field(description="What it is about.", examples=["present"])
    members: list[MemberResponse] = Field(
        description="Who is there; not all, if there are many.",
    )
    total: int = Field(
        description="How many are there.",
        examples=[1],
    )


class PresenceMessage(ResponseModel):
    """Somebody has come into the channel or left it; not told where there are many."""

    type: Literal["joined", "left"] = Field(description="What it is about.", examples=["joined"])
    member: MemberResponse = Field(description="Who.")


class SpokenMessage(ResponseModel):
    """Somebody has said something: to the channel, to you, or to everybody."""

    type: Literal["said", "told", "announced"] = Field(
        description="What it is about.", examples=["said"]
    )
    sender: SenderResponse = Field(description="Who.")
    text: str = Field(description=_TEXT, examples=["Good morning"])
    sent_at: datetime = Field(description="When, in UTC.", examples=[_EXAMPLE_MOMENT])


class ItemMessage(ResponseModel):
    """Something has happened to one of your items. Heard in your own channel, after the commit."""

    type: Literal["item_created", "item_changed", "item_deleted"] = Field(
        description="What it is about.", examples=["item_changed"]
    )
    item_id: UUID = Field(description="Which item.", examples=[EXAMPLE_ID])
    version: int = Field(description="Its version; the last, if it is gone.", examples=[2])


class ResyncMessage(ResponseModel):
    """Messages may have been missed: read again what you show."""

    type: Literal["resync"] = Field(description="What it is about.", examples=["resync"])


class PongMessage(ResponseModel):
    """The answer to a ping."""

    type: Literal["pong"] = Field(description="What it is about.", examples=["pong"])
    nonce: str = Field(description="That of the ping.", examples=["17"])


class ErrorMessage(ResponseModel):
    """A message of yours was not acted upon; the connection stays."""

    type: Literal["error"] = Field(description="What it is about.", examples=["error"])
    code: str = Field(description="Stable, for programs.", examples=["malformed_message"])
    detail: str = Field(description="For people.", examples=["The message is not valid JSON."])


ServerMessage = Annotated[
    WelcomeMessage
    | PresentMessage
    | PresenceMessage
    | SpokenMessage
    | ItemMessage
    | ResyncMessage
    | PongMessage
    | ErrorMessage,
    Discriminator("type"),
]
SERVER_MESSAGE: Final[TypeAdapter[ServerMessage]] = TypeAdapter(ServerMessage)
"""Writes what clients hear."""
