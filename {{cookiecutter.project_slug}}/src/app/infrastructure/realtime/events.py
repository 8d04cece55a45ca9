"""Events for connected clients."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.core.ports import Events
from app.infrastructure.realtime.hub import Hub
from app.infrastructure.realtime.messages import ServerMessage


@dataclass(frozen=True, slots=True)
class LiveEvents:
    """Passes events on, and announces those that have a message.

    Attributes:
        announced: By type of event, its message and the channel that receives it.
    """

    events: Events
    hub: Hub
    announced: Mapping[type, Callable[[Any], tuple[ServerMessage, str]]]

    async def publish(self, event: object) -> None:
        """Pass an event on, and announce it."""
        await self.events.publish(event)
        if announce := self.announced.get(type(event)):
            self.hub.publish(*announce(event))
