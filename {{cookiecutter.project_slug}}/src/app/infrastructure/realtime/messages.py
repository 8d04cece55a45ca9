"""Messages of every channel, and the base of those that features register."""

from typing import Final, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from app.infrastructure.http.schemas import EXAMPLE_ID, TEXT, InputModel, ResponseModel

TYPE: Final = "Type of the message."


class ClientMessage(InputModel):
    """Base of messages from clients; each has a literal `type`."""


class ServerMessage(ResponseModel):
    """Base of messages to clients; each has a literal `type`."""


class WhoMessage(ClientMessage):
    """Request the members of the channel; `present` is the response."""

    type: Literal["who"] = Field(description=TYPE, examples=["who"])


class PingMessage(ClientMessage):
    """Request a `pong`. The server itself sends protocol pings."""

    type: Literal["ping"] = Field(description=TYPE, examples=["ping"])
    nonce: str = Field(
        "",
        max_length=64,
        pattern=TEXT,
        description="Returned in the response.",
        examples=["17"],
    )


class SenderResponse(ResponseModel):
    """The sender of a message."""

    model_config = ConfigDict(frozen=True)

    user_id: UUID = Field(description="ID of the user.", examples=[EXAMPLE_ID])
    username: str = Field(description="Name of the user.", examples=["ada"])


class MemberResponse(SenderResponse):
    """A connection to the channel; a user with several clients has several."""

    connection_id: UUID = Field(description="ID of the connection.", examples=[EXAMPLE_ID])


class WelcomeMessage(ServerMessage):
    """The first message: from here on, the connection receives all messages of the channel."""

    type: Literal["welcome"] = Field("welcome", description=TYPE, examples=["welcome"])
    connection_id: UUID = Field(description="ID of your connection.", examples=[EXAMPLE_ID])
    channel: str = Field(description="Name of the channel.", examples=["lobby"])
    members: list[MemberResponse] = Field(
        description="Members, including you; incomplete in a large channel."
    )
    total: int = Field(description="Number of members.", examples=[1])


class PresentMessage(ServerMessage):
    """The members of the channel."""

    type: Literal["present"] = Field("present", description=TYPE, examples=["present"])
    members: list[MemberResponse] = Field(description="Members; incomplete in a large channel.")
    total: int = Field(description="Number of members.", examples=[1])


class PresenceMessage(ServerMessage):
    """A member has joined or left; not sent in a large channel."""

    type: Literal["joined", "left"] = Field(description=TYPE, examples=["joined"])
    member: MemberResponse = Field(description="The member.")


class ResyncMessage(ServerMessage):
    """Messages may have been lost: reload the state that you show."""

    type: Literal["resync"] = Field("resync", description=TYPE, examples=["resync"])


class PongMessage(ServerMessage):
    """The response to a ping."""

    type: Literal["pong"] = Field("pong", description=TYPE, examples=["pong"])
    nonce: str = Field(description="The `nonce` of the ping.", examples=["17"])


class ErrorMessage(ServerMessage):
    """Your message was rejected; the connection stays open."""

    type: Literal["error"] = Field("error", description=TYPE, examples=["error"])
    code: str = Field(description="Machine-readable error. Stable.", examples=["malformed_message"])
    detail: str = Field(
        description="Human-readable explanation.", examples=["The message is not valid JSON."]
    )
