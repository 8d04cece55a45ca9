"""Where live events come together: this process' connections, and the way to those of others."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from typing import Final, Literal

import structlog

from app.config import Settings
from app.core.config.realtime import RealtimeSettings
from app.domain.realtime import (
    Channel,
    ConnectionId,
    Ending,
    Parcel,
    Presence,
    Present,
    Shared,
    Visitor,
    Welcome,
)
from app.infrastructure.realtime.fanout import FanOut
from app.infrastructure.realtime.registry import Connection, Registry

Recheck = Callable[[Collection[Visitor]], Awaitable[dict[ConnectionId, Ending]]]
"""Tells which visitors may not stay, and why."""

_SECONDS_TO_CLOSE: Final = 2.0
logger = structlog.stdlib.get_logger(__name__)


class Hub:
    """Lets connections in and out, and has messages heard."""

    def __init__(self, settings: RealtimeSettings, registry: Registry, fanout: FanOut) -> None:
        self._settings = settings
        self._registry = registry
        self._fanout = fanout
        self._recheck: Recheck | None = None
        self._goodbyes: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings) -> AsyncIterator["Hub"]:
        """Yield a hub; afterwards, connections that are left are closed (1012)."""
        registry = Registry(settings.realtime)
        async with FanOut.open(settings, registry) as fanout:
            hub = cls(settings.realtime, registry, fanout)
            watching = asyncio.create_task(hub._watch(), name="realtime watch")
            try:
                yield hub
            finally:
                watching.cancel()
                registry.end_all()
                await asyncio.wait({watching, *hub._goodbyes}, timeout=_SECONDS_TO_CLOSE)

    @property
    def connections(self) -> int:
        """How many connections this process has."""
        return len(self._registry)

    async def join(self, visitor: Visitor, recheck: Recheck) -> Connection:
        """Let a connection in. It hears who is there, and then all that is said.

        Args:
            visitor: Who it is, and where it wants to be.
            recheck: Is asked now and then whether those who are connected may stay.

        Raises:
            TooManyConnections: The process or the user has as many as it may.
        """
        connection = self._registry.add(visitor)
        self._recheck = recheck
        try:
            present = await self._fanout.enter(visitor.channel, visitor.member)
        except BaseException:
            self._registry.remove(connection)
            raise
        connection.greet(
            Welcome(visitor.connection_id, visitor.channel, present.members, present.total)
        )
        if present.total <= self._settings.presence_limit:
            self._tell("joined", visitor)
        return connection

    async def leave(self, connection: Connection) -> None:
        """Let a connection go, and have the others hear of it, even if nobody waits for that."""
        self._registry.remove(connection)
        goodbye = asyncio.create_task(self._say_goodbye(connection.visitor))
        self._goodbyes.add(goodbye)
        goodbye.add_done_callback(self._goodbyes.discard)
        await asyncio.shield(goodbye)

    async def present(self, channel: Channel) -> Present:
        """Return who is in a channel."""
        return await self._fanout.present(channel)

    def publish(self, message: Shared, channel: Channel | None = None) -> None:
        """Have a message heard in a channel, or by everybody; in the order of asking."""
        self._deliver(Parcel(message, channel))

    async def _say_goodbye(self, visitor: Visitor) -> None:
        left = await self._fanout.leave(visitor.channel, visitor.member)
        if left < self._settings.presence_limit:
            self._tell("left", visitor)

    def _tell(self, what: Literal["joined", "left"], visitor: Visitor) -> None:
        presence = Presence(what, visitor.member)
        self._deliver(Parcel(presence, visitor.channel, visitor.connection_id))

    def _deliver(self, parcel: Parcel) -> None:
        self._registry.deliver(parcel)
        self._fanout.publish(parcel)

    async def _watch(self) -> None:
        """Look again, now and then, whether those who are connected may stay."""
        while True:
            await asyncio.sleep(self._settings.recheck_seconds)
            connections = {each.visitor.connection_id: each for each in self._registry}
            if self._recheck is None or not connections:
                continue
            try:
                endings = await self._recheck([each.visitor for each in connections.values()])
            except Exception:
                # They stay until somebody can tell: what they could ask for is closed as well.
                logger.exception("who is connected could not be looked at")
                continue
            for connection_id, ending in endings.items():
                connections[connection_id].end(ending)
