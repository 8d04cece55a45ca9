"""Live events: channels, who is in them, and what is said there."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, NewType
from uuid import UUID

from app.core.errors import Forbidden, InvalidToken, TooManyRequests
from app.domain.auth import Principal
from app.domain.items import ItemId
from app.domain.permissions import Permission
from app.domain.users import UserId

ConnectionId = NewType("ConnectionId", UUID)
Channel = NewType("Channel", str)
"""A place where messages are heard: `lobby`, `admin`, or `user:` and an id."""

LOBBY: Final = Channel("lobby")
ADMIN: Final = Channel("admin")
OWN: Final = "me"
"""How users name their own channel."""

REQUIRED: Final[dict[Channel, tuple[Permission, ...]]] = {
    LOBBY: ("profile:read",),
    ADMIN: ("profile:read", "users:read"),
}
"""The channels that several people share, with what one needs to come in."""

_OWN_REQUIRED: Final[tuple[Permission, ...]] = ("profile:read",)
ISSUE: Final[tuple[Permission, ...]] = ("account:manage",)
TELL: Final[tuple[Permission, ...]] = ("users:read",)
ANNOUNCE: Final[tuple[Permission, ...]] = ("users:write",)

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
"""Why a connection is closed: from 4000 on by our own words, below by those of RFC 6455 §7.4.1
and IANA's registry."""


class TicketNotValid(InvalidToken):
    """A ticket that is unknown, expired or used."""

    code = "invalid_ticket"
    title = "The ticket is not valid"


class ChannelForbidden(Forbidden):
    """There is no such channel, or none for the one who asks: which of the two stays unsaid."""

    code = "channel_forbidden"
    title = "The channel is not open to you"


class OriginForbidden(Forbidden):
    """A page of another site has opened the connection."""

    code = "origin_forbidden"
    title = "Pages of this origin may not connect"


class TooManyConnections(TooManyRequests):
    """The user, or the process, has as many connections as it may."""

    code = "too_many_connections"
    title = "Too many connections"


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a connection is closed.

    Attributes:
        code: The close code.
        reason: A few words for the client, of at most 123 bytes.
    """

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class NewTicket:
    """A ticket that was just made: good for one connection.

    Attributes:
        ticket: The secret.
        expires_in: Life in seconds.
    """

    ticket: str
    expires_in: int


@dataclass(frozen=True, slots=True)
class Sender:
    """Whoever says something."""

    user_id: UserId
    username: str


@dataclass(frozen=True, slots=True)
class Member:
    """A connection to a channel; one user may have several."""

    connection_id: ConnectionId
    user_id: UserId
    username: str


@dataclass(frozen=True, slots=True)
class Visitor:
    """A connection, with what let it in.

    Attributes:
        channel: Where it is.
    """

    connection_id: ConnectionId
    principal: Principal
    channel: Channel

    @property
    def member(self) -> Member:
        """What others may know of it."""
        return Member(self.connection_id, self.principal.id, self.principal.user.username)

    @property
    def sender(self) -> Sender:
        """Who says what it says."""
        return Sender(self.principal.id, self.principal.user.username)


@dataclass(frozen=True, slots=True)
class Present:
    """Who is in a channel.

    Attributes:
        members: All of them, unless there are too many to name.
        total: How many there are.
    """

    members: tuple[Member, ...]
    total: int


@dataclass(frozen=True, slots=True)
class Presence:
    """Somebody has come into the channel, or left it."""

    type: Literal["joined", "left"]
    member: Member


@dataclass(frozen=True, slots=True)
class Spoken:
    """Somebody has said something.

    Attributes:
        type: `said` to a channel, `told` to one user, `announced` to everybody.
    """

    type: Literal["said", "told", "announced"]
    sender: Sender
    text: str
    sent_at: datetime


@dataclass(frozen=True, slots=True)
class ItemNotice:
    """Something has happened to an item of the user whose channel this is."""

    type: Literal["item_created", "item_changed", "item_deleted"]
    item_id: ItemId
    version: int


@dataclass(frozen=True, slots=True)
class Resync:
    """Messages may have been missed: what is shown should be read again."""

    type: Literal["resync"] = "resync"


@dataclass(frozen=True, slots=True)
class Welcome:
    """The connection stands: from here on, nothing that is said is missed."""

    connection_id: ConnectionId
    channel: Channel
    members: tuple[Member, ...]
    total: int
    type: Literal["welcome"] = "welcome"


@dataclass(frozen=True, slots=True)
class Roll:
    """Who is in the channel, as was asked."""

    members: tuple[Member, ...]
    total: int
    type: Literal["present"] = "present"


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a ping."""

    nonce: str
    type: Literal["pong"] = "pong"


@dataclass(frozen=True, slots=True)
class Fault:
    """A message of the client was not acted upon."""

    code: str
    detail: str
    type: Literal["error"] = "error"


Shared = Presence | Spoken | ItemNotice | Resync
"""What is heard by all who are in a channel."""

Message = Shared | Welcome | Roll | Pong | Fault
"""What a client may hear."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message and who is to hear it.

    Attributes:
        channel: All who are there; everybody, if it is None.
        but: The connection that is not to hear it.
    """

    message: Shared
    channel: Channel | None = None
    but: ConnectionId | None = None


def channel_of(user_id: UserId) -> Channel:
    """Return the channel of a user."""
    return Channel(f"user:{user_id}")


def permitted_channel(name: str, principal: Principal) -> Channel:
    """Return the channel that a client means by a name.

    Args:
        name: `me` stands for the user's own channel.
        principal: Who wants to come in.

    Raises:
        ChannelForbidden: There is none of this name, it is another user's, or a permission for it
            is missing.
    """
    own = channel_of(principal.id)
    channel = own if name == OWN else Channel(name)
    required = _OWN_REQUIRED if channel == own else REQUIRED.get(channel)
    if required is None or not principal.permissions.issuperset(required):
        raise ChannelForbidden
    return channel


class Allowance:
    """How many messages a connection may still send: a supply that fills up by the second."""

    __slots__ = ("_burst", "_left", "_rate", "_since")

    def __init__(self, rate: float, burst: int, now: float) -> None:
        """Start full.

        Args:
            rate: Messages per second.
            burst: Messages at once.
            now: The time, in seconds of any clock that never goes back.
        """
        self._rate = rate
        self._burst = float(burst)
        self._left = float(burst)
        self._since = now

    def take(self, now: float) -> bool:
        """Count a message; tell whether it was allowed."""
        self._left = min(self._burst, self._left + (now - self._since) * self._rate)
        self._since = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
