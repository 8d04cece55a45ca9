"""The connections of this process. Nothing here waits, so what is sent in order stays in order."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final

from app.core.config.realtime import RealtimeSettings
from app.domain.realtime import (
    RESTARTING,
    TOO_SLOW,
    Channel,
    ConnectionId,
    Ending,
    Member,
    Message,
    Parcel,
    Present,
    TooManyConnections,
    Visitor,
)
from app.domain.users import UserId

Encode = Callable[[Message], str]

_TOO_SLOW: Final = Ending(TOO_SLOW, "too slow")
_RESTARTING: Final = Ending(RESTARTING, "the service restarts")
_RETRY_SECONDS: Final = 5


class Letter:
    """A message on its way: written out once, however many hear it."""

    __slots__ = ("_message", "_text")

    def __init__(self, message: Message) -> None:
        self._message = message
        self._text: str | None = None

    def text(self, encode: Encode) -> str:
        """Return the message as it is sent."""
        if self._text is None:
            self._text = encode(self._message)
        return self._text


class Connection:
    """A client: where it is, and what waits for it.

    Whoever has something for it never waits: a client for which more is waiting than may be is cut
    off, and that is all that the others notice of it.

    Attributes:
        visitor: Who it is, and in which channel.
        ended: Why it is to be closed, as soon as it is.
    """

    __slots__ = ("_limit", "_more", "_waiting", "ended", "visitor")

    def __init__(self, visitor: Visitor, limit: int) -> None:
        """Begin with nothing waiting.

        Args:
            visitor: Who it is.
            limit: Most messages that may wait.
        """
        self.visitor = visitor
        self.ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._limit = limit
        self._waiting: deque[Letter] = deque()
        # In place of an event, which keeps a list of who waits: it is one, and for each message.
        self._more: asyncio.Future[None] | None = None

    def offer(self, letter: Letter) -> None:
        """Have a message sent, after all that waits; cut the client off if that is too much."""
        if self.ended.done():
            return
        if len(self._waiting) >= self._limit:
            self.end(_TOO_SLOW)
            return
        self._waiting.append(letter)
        self._wake()

    def say(self, message: Message) -> None:
        """Have a message sent that is for this client alone."""
        self.offer(Letter(message))

    def greet(self, message: Message) -> None:
        """Have a message sent before all that waits."""
        self._waiting.appendleft(Letter(message))
        self._wake()

    def end(self, ending: Ending) -> None:
        """Have the connection closed; the first reason counts."""
        if not self.ended.done():
            self._waiting.clear()
            self.ended.set_result(ending)

    async def next(self) -> Letter:
        """Return what is to be sent next, once there is something; one at a time may ask."""
        while not self._waiting:
            self._more = self.ended.get_loop().create_future()
            await self._more
        return self._waiting.popleft()

    def _wake(self) -> None:
        if self._more is not None and not self._more.done():
            self._more.set_result(None)


class Registry:
    """All connections of this process, by channel."""

    def __init__(self, settings: RealtimeSettings) -> None:
        self._settings = settings
        self._channels: dict[Channel, dict[ConnectionId, Connection]] = {}
        self._of_user: Counter[UserId] = Counter()
        self._total = 0

    def __len__(self) -> int:
        return self._total

    def __iter__(self) -> Iterator[Connection]:
        return (each for channel in self._channels.values() for each in channel.values())

    @property
    def channels(self) -> list[Channel]:
        """The channels that somebody here is in."""
        return list(self._channels)

    def add(self, visitor: Visitor) -> Connection:
        """Take a connection in: from here on it hears what is said.

        Raises:
            TooManyConnections: The process or the user has as many as it may.
        """
        if len(self) >= self._settings.connections:
            raise TooManyConnections(_RETRY_SECONDS, "The process has no room left.")
        if self._of_user[visitor.principal.id] >= self._settings.connections_per_user:
            raise TooManyConnections(_RETRY_SECONDS, "You have as many connections as you may.")
        connection = Connection(visitor, self._settings.queue_size)
        self._channels.setdefault(visitor.channel, {})[visitor.connection_id] = connection
        self._of_user[visitor.principal.id] += 1
        self._total += 1
        return connection

    def remove(self, connection: Connection) -> None:
        """Let a connection go."""
        visitor = connection.visitor
        there = self._channels[visitor.channel]
        del there[visitor.connection_id]
        if not there:
            del self._channels[visitor.channel]
        self._total -= 1
        self._of_user[visitor.principal.id] -= 1
        if not self._of_user[visitor.principal.id]:
            del self._of_user[visitor.principal.id]

    def concerns(self, channel: Channel | None) -> bool:
        """Whether anybody here would hear what is said in a channel."""
        return bool(self._channels) if channel is None else channel in self._channels

    def deliver(self, parcel: Parcel) -> None:
        """Have a message heard by all here whom it is for."""
        letter = Letter(parcel.message)
        heard_by: Iterable[Connection] = (
            self if parcel.channel is None else self._channels.get(parcel.channel, {}).values()
        )
        for connection in heard_by:
            if connection.visitor.connection_id != parcel.but:
                connection.offer(letter)

    def members(self, channel: Channel) -> list[Member]:
        """Who is in a channel, by this process."""
        return [each.visitor.member for each in self._channels.get(channel, {}).values()]

    def present(self, channel: Channel) -> Present:
        """Who is in a channel, as far as this process knows."""
        there = self._channels.get(channel, {})
        named = islice(there.values(), self._settings.presence_limit)
        return Present(tuple(each.visitor.member for each in named), len(there))

    def end_all(self) -> None:
        """Have all connections closed, because the process ends."""
        for connection in self:
            connection.end(_RESTARTING)
