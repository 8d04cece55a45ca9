"""What is said in one process is heard in that process: there is nothing to carry it further."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from app.config import Settings
from app.domain.realtime import Channel, Member, Parcel, Present
from app.infrastructure.realtime.registry import Registry

logger = structlog.stdlib.get_logger(__name__)


class FanOut:
    """Knows of no other process."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings, registry: Registry) -> AsyncIterator["FanOut"]:
        """Yield one; whoever runs several processes is told that each is on its own."""
        if settings.server.workers > 1:
            logger.warning(
                "live events are heard in the process where they happen",
                workers=settings.server.workers,
            )
        yield cls(registry)

    def publish(self, parcel: Parcel) -> None:
        """Have other processes hear a message: there is none."""

    async def enter(self, channel: Channel, member: Member) -> Present:
        """Note who has come, and return who is there."""
        del member
        return self._registry.present(channel)

    async def leave(self, channel: Channel, member: Member) -> int:
        """Note who has gone, and return how many are left."""
        del member
        return self._registry.present(channel).total

    async def present(self, channel: Channel) -> Present:
        """Return who is in a channel."""
        return self._registry.present(channel)
