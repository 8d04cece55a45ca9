"""The connections of this process. Nothing here waits, so messages stay in order."""

import asyncio
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final
from uuid import UUID

from app.core.config.realtime import RealtimeSettings
from app.core.errors import InsufficientScope, TooManyRequests
from app.infrastructure.realtime.messages import MemberResponse, SenderResponse, ServerMessage

UNAUTHENTICATED: Final = 4001
FORBIDDEN: Final = 4003
TOO_SLOW: Final = 4008
UNSUPPORTED: Final = 1003
MALFORMED: Final = 1007
TOO_MANY_MESSAGES: Final = 1008
TOO_LARGE: Final = 1009
INTERNAL: Final = 1011
RESTARTING: Final = 1012
TRY_LATER: Final = 1013
"""Close codes: from 4000 on our own, the others from RFC 6455 §7.4.1 and IANA's registry."""

_RETRY_SECONDS: Final = 5


class TooManyConnections(TooManyRequests):
    """The user or the process has as many connections as allowed."""

    code = "too_many_connections"
    title = "Too many connections"


@dataclass(frozen=True, slots=True)
class Close:
    """The code and the reason, of at most 123 bytes, that a connection is closed with."""

    code: int
    reason: str


_TOO_SLOW: Final = Close(TOO_SLOW, "too slow")
_RESTARTING: Final = Close(RESTARTING, "the service restarts")


@dataclass(frozen=True, slots=True)
class Client:
    """An authenticated client and its channel.

    Attributes:
        id: Id of the connection.
        subject: Id of the user.
        name: Name of the user.
        credential: Id of the session or API key, for later checks.
    """

    id: UUID
    subject: UUID
    name: str
    permissions: frozenset[str]
    credential: UUID
    channel: str

    @property
    def member(self) -> MemberResponse:
        """Return the client as others in the channel see it."""
        return MemberResponse(connection_id=self.id, user_id=self.subject, username=self.name)

    @property
    def sender(self) -> SenderResponse:
        """Return the client as the sender of a message."""
        return SenderResponse(user_id=self.subject, username=self.name)

    def require(self, *permissions: str) -> None:
        """Require permissions."""
        if not self.permissions.issuperset(permissions):
            raise InsufficientScope(permissions)


@dataclass(frozen=True, slots=True)
class Present:
    """The members of a channel, only some of them in a large one, and their number."""

    members: tuple[MemberResponse, ...]
    total: int


@dataclass(frozen=True, slots=True)
class Envelope:
    """An encoded message for a channel or for all connections, except for one."""

    text: str
    channel: str | None = None
    exclude: UUID | None = None


class Connection:
    """A client and the queue of its messages.

    Publishers never wait: a client whose queue is full is disconnected. The result of `closed` is
    the reason.
    """

    __slots__ = ("_limit", "_more", "_queue", "client", "closed")

    def __init__(self, client: Client, limit: int) -> None:
        self.client = client
        self.closed: asyncio.Future[Close] = asyncio.get_running_loop().create_future()
        self._limit = limit
        self._queue: deque[str] = deque()
        # Lighter than an `asyncio.Event`: every connection has one.
        self._more: asyncio.Future[None] | None = None

    def offer(self, text: str) -> None:
        """Queue an encoded message; disconnect the client if its queue is full."""
        if self.closed.done():
            return
        if len(self._queue) >= self._limit:
            self.close(_TOO_SLOW)
            return
        self._queue.append(text)
        self._wake()

    def send(self, message: ServerMessage) -> None:
        """Queue a message for this client only."""
        self.offer(message.model_dump_json())

    def greet(self, message: ServerMessage) -> None:
        """Queue a message before all others."""
        self._queue.appendleft(message.model_dump_json())
        self._wake()

    def close(self, close: Close) -> None:
        """Close the connection; the first reason counts."""
        if not self.closed.done():
            self._queue.clear()
            self.closed.set_result(close)

    async def next(self) -> str:
        """Return the next message, for the one reader."""
        while not self._queue:
            self._more = self.closed.get_loop().create_future()
            await self._more
        return self._queue.popleft()

    def _wake(self) -> None:
        if self._more is not None and not self._more.done():
            self._more.set_result(None)


class Connections:
    """All connections of this process, by channel."""

    def __init__(self, settings: RealtimeSettings) -> None:
        self._settings = settings
        self._channels: dict[str, dict[UUID, Connection]] = {}
        self._of_subject: Counter[UUID] = Counter()
        self._total = 0

    def __len__(self) -> int:
        return self._total

    def __iter__(self) -> Iterator[Connection]:
        return (each for channel in self._channels.values() for each in channel.values())

    @property
    def channels(self) -> list[str]:
        """Return the channels that have connections here."""
        return list(self._channels)

    def add(self, client: Client) -> Connection:
        """Add a connection, which receives messages from here on.

        Raises:
            TooManyConnections: The process or the user has as many as allowed.
        """
        if len(self) >= self._settings.connections:
            raise TooManyConnections(_RETRY_SECONDS, "The server has too many connections.")
        if self._of_subject[client.subject] >= self._settings.connections_per_user:
            raise TooManyConnections(_RETRY_SECONDS, "You have too many connections.")
        connection = Connection(client, self._settings.queue_size)
        self._channels.setdefault(client.channel, {})[client.id] = connection
        self._of_subject[client.subject] += 1
        self._total += 1
        return connection

    def remove(self, connection: Connection) -> None:
        """Remove a connection."""
        client = connection.client
        channel = self._channels[client.channel]
        del channel[client.id]
        if not channel:
            del self._channels[client.channel]
        self._total -= 1
        self._of_subject[client.subject] -= 1
        if not self._of_subject[client.subject]:
            del self._of_subject[client.subject]

    def deliver(self, envelope: Envelope) -> None:
        """Queue a message for its recipients in this process."""
        recipients: Iterable[Connection] = (
            self if envelope.channel is None else self._channels.get(envelope.channel, {}).values()
        )
        for connection in recipients:
            if connection.client.id != envelope.exclude:
                connection.offer(envelope.text)

    def members(self, channel: str) -> list[MemberResponse]:
        """Return the members of a channel in this process."""
        return [each.client.member for each in self._channels.get(channel, {}).values()]

    def present(self, channel: str) -> Present:
        """Return the members of a channel in this process, up to the limit, and their number."""
        members = self._channels.get(channel, {})
        listed = islice(members.values(), self._settings.presence_limit)
        return Present(tuple(each.client.member for each in listed), len(members))

    def close_all(self) -> None:
        """Close all connections because the process is shutting down."""
        for connection in self:
            connection.close(_RESTARTING)
