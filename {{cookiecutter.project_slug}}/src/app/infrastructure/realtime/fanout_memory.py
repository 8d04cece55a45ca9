"""Fan-out within one process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import structlog

from app.core.config import ServerSettings
from app.core.config.realtime import RealtimeSettings
from app.infrastructure.realtime.connections import Connections, Envelope, Present
from app.infrastructure.realtime.messages import MemberResponse

logger = structlog.stdlib.get_logger(__name__)


class FanOutSettings(Protocol):
    """The groups of settings in use."""

    @property
    def realtime(self) -> RealtimeSettings:
        """WebSockets."""

    @property
    def server(self) -> ServerSettings:
        """Server processes."""


class FanOut:
    """Knows no other process."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    @classmethod
    @asynccontextmanager
    async def open(
        cls, settings: FanOutSettings, connections: Connections
    ) -> AsyncIterator["FanOut"]:
        """Yield one, with a warning if there are other processes."""
        if settings.server.workers > 1:
            logger.warning(
                "WebSocket messages stay within a process", workers=settings.server.workers
            )
        yield cls(connections)

    def publish(self, envelope: Envelope) -> None:
        """Send a message to other processes."""

    async def enter(self, channel: str, member: MemberResponse) -> Present:
        """Add a member, and return all of them."""
        return self._connections.present(channel)

    async def leave(self, channel: str, member: MemberResponse) -> int:
        """Remove a member, and return the number of those left."""
        return self._connections.present(channel).total

    async def present(self, channel: str) -> Present:
        """Return the members of a channel."""
        return self._connections.present(channel)
