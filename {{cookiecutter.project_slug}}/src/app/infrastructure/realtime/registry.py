"""Registry of messages."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, TypeAlias, Union, cast

from pydantic import Discriminator, TypeAdapter

from app.core.ports import Events
from app.infrastructure.realtime.connections import Connection
from app.infrastructure.realtime.hub import Hub
from app.infrastructure.realtime.messages import (
    ClientMessage,
    ErrorMessage,
    PingMessage,
    PongMessage,
    PresenceMessage,
    PresentMessage,
    ResyncMessage,
    ServerMessage,
    WelcomeMessage,
    WhoMessage,
)

Handler: TypeAlias = Callable[[Any, Connection, Hub], Awaitable[None]]
Announce: TypeAlias = Callable[[Any], tuple[ServerMessage, str]]


@dataclass(frozen=True, slots=True)
class FeatureMessages:
    """Messages of a feature.

    Attributes:
        handlers: Handler of each message from clients.
        sent: Messages to clients.
        announced: By type of event, its message and the channel that receives it.
    """

    handlers: Mapping[type[ClientMessage], Handler] = field(default_factory=dict)
    sent: tuple[type[ServerMessage], ...] = ()
    announced: Mapping[type, Announce] = field(default_factory=dict)


async def _who(_: WhoMessage, connection: Connection, hub: Hub) -> None:
    present = await hub.present(connection.client.channel)
    connection.send(PresentMessage(members=list(present.members), total=present.total))


async def _ping(message: PingMessage, connection: Connection, _: Hub) -> None:
    connection.send(PongMessage(nonce=message.nonce))


_COMMON: Final = FeatureMessages(
    handlers={WhoMessage: _who, PingMessage: _ping},
    sent=(
        WelcomeMessage,
        PresentMessage,
        PresenceMessage,
        ResyncMessage,
        PongMessage,
        ErrorMessage,
    ),
)


@dataclass(frozen=True, slots=True)
class LiveEvents:
    """Publishes events, and sends the messages that announce them."""

    events: Events
    hub: Hub
    announced: Mapping[type, Announce]

    async def publish(self, event: object) -> None:
        """Publish an event."""
        await self.events.publish(event)
        if announce := self.announced.get(type(event)):
            self.hub.publish(*announce(event))


class Messages:
    """All messages: the common ones and those of features.

    Attributes:
        received: Messages from clients.
        sent: Messages to clients.
    """

    def __init__(self, *features: FeatureMessages) -> None:
        self._handlers: dict[type[ClientMessage], Handler] = {}
        self._announced: dict[type, Announce] = {}
        self.sent: list[type[ServerMessage]] = []
        for feature in (_COMMON, *features):
            self._handlers.update(feature.handlers)
            self._announced.update(feature.announced)
            self.sent += feature.sent
        self.received = list(self._handlers)
        # Type checkers don't know unions made at run time.
        union: Any = Union[tuple(self.received)]  # noqa: UP007 - of a tuple
        self._adapter: TypeAdapter[ClientMessage] = TypeAdapter(
            cast("Any", Annotated)[union, Discriminator("type")]
        )

    def announcing(self, events: Events, hub: Hub) -> LiveEvents:
        """Return the events, announced by the hub."""
        return LiveEvents(events, hub, self._announced)

    def parse(self, text: str) -> ClientMessage:
        """Parse a message from a client.

        Raises:
            ValidationError: It is not valid.
        """
        return self._adapter.validate_json(text)

    async def handle(self, message: ClientMessage, connection: Connection, hub: Hub) -> None:
        """Handle a message from a client.

        Raises:
            DomainError: The client may not send it.
        """
        await self._handlers[type(message)](message, connection, hub)
