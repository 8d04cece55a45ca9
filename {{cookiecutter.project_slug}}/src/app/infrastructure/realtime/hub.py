"""The hub: connections of this process, and the fan-out to those of others."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, Literal, TypeAlias
from uuid import UUID

import structlog

from app.core.config.realtime import RealtimeSettings
from app.core.ports import Measurement
from app.infrastructure.realtime.connections import (
    Client,
    Close,
    Connection,
    Connections,
    Envelope,
    Present,
)
from app.infrastructure.realtime.fanout import FanOut, FanOutSettings
from app.infrastructure.realtime.messages import PresenceMessage, ServerMessage, WelcomeMessage

Recheck: TypeAlias = Callable[[Collection[Client]], Awaitable[Mapping[UUID, Close]]]
"""Return the connections to close, by id, because their credentials or permissions are gone."""

_SECONDS_TO_CLOSE: Final = 2.0
logger = structlog.stdlib.get_logger(__name__)


class Hub:
    """Admits connections and publishes messages."""

    def __init__(
        self,
        settings: RealtimeSettings,
        connections: Connections,
        fanout: FanOut,
        recheck: Recheck,
    ) -> None:
        self._settings = settings
        self._connections = connections
        self._fanout = fanout
        self._recheck = recheck
        self._leaving: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: FanOutSettings, recheck: Recheck) -> AsyncIterator["Hub"]:
        """Yield a hub; afterwards, close the remaining connections (1012)."""
        connections = Connections(settings.realtime)
        async with FanOut.open(settings, connections) as fanout:
            hub = cls(settings.realtime, connections, fanout, recheck)
            rechecking = asyncio.create_task(hub._recheck_all(), name="realtime recheck")
            try:
                yield hub
            finally:
                rechecking.cancel()
                connections.close_all()
                await asyncio.wait({rechecking, *hub._leaving}, timeout=_SECONDS_TO_CLOSE)

    @property
    def connections(self) -> int:
        """Return the number of connections in this process."""
        return len(self._connections)

    def measure(self) -> Iterator[Measurement]:
        """Measure the connections of this process."""
        yield Measurement("websocket_connections", "Open WebSockets.", self.connections)

    async def join(self, client: Client) -> Connection:
        """Add a connection: it gets a welcome, and then all messages of its channel.

        Raises:
            TooManyConnections: The process or the user has as many as allowed.
        """
        connection = self._connections.add(client)
        try:
            present = await self._fanout.enter(client.channel, client.member)
        except BaseException:
            self._connections.remove(connection)
            raise
        connection.greet(
            WelcomeMessage(
                connection_id=client.id,
                channel=client.channel,
                members=list(present.members),
                total=present.total,
            )
        )
        if present.total <= self._settings.presence_limit:
            self._announce("joined", client)
        return connection

    async def leave(self, connection: Connection) -> None:
        """Remove a connection, and announce it even if the caller is cancelled."""
        self._connections.remove(connection)
        leaving = asyncio.create_task(self._leave(connection.client))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)
        await asyncio.shield(leaving)

    async def present(self, channel: str) -> Present:
        """Return the members of a channel."""
        return await self._fanout.present(channel)

    def publish(self, message: ServerMessage, channel: str | None = None) -> None:
        """Send a message to a channel, or to all connections; messages keep their order."""
        self._deliver(Envelope(message.model_dump_json(), channel))

    async def _leave(self, client: Client) -> None:
        left = await self._fanout.leave(client.channel, client.member)
        if left < self._settings.presence_limit:
            self._announce("left", client)

    def _announce(self, change: Literal["joined", "left"], client: Client) -> None:
        message = PresenceMessage(type=change, member=client.member)
        self._deliver(Envelope(message.model_dump_json(), client.channel, client.id))

    def _deliver(self, envelope: Envelope) -> None:
        self._connections.deliver(envelope)
        self._fanout.publish(envelope)

    async def _recheck_all(self) -> None:
        while True:
            await asyncio.sleep(self._settings.recheck_seconds)
            connections = {each.client.id: each for each in self._connections}
            if not connections:
                continue
            try:
                closes = await self._recheck([each.client for each in connections.values()])
            except Exception:
                # They stay open until the check works again.
                logger.exception("recheck of connections failed")
                continue
            for connection_id, close in closes.items():
                connections[connection_id].close(close)
