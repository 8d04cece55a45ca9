"""Channels and tickets of WebSockets."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from app.core.errors import Forbidden, InvalidToken
from app.domain.auth import Principal
from app.domain.permissions import Permission

LOBBY: Final = "lobby"
ADMIN: Final = "admin"
OWN: Final = "me"
"""Alias of the user's own channel."""

DESCRIPTION: Final = "`me`, `lobby`, `admin` (requires `users:read`), or `user:` and your own ID."
REQUIRED: Final[dict[str, tuple[Permission, ...]]] = {
    LOBBY: ("profile:read",),
    ADMIN: ("profile:read", "users:read"),
}
"""Shared channels and the permissions that they require."""

_OWN_REQUIRED: Final[tuple[Permission, ...]] = ("profile:read",)


class TicketNotValid(InvalidToken):
    """The ticket is unknown, expired or used."""

    code = "invalid_ticket"
    title = "Invalid ticket"


class ChannelForbidden(Forbidden):
    """The channel does not exist or is not permitted; the response does not reveal which."""

    code = "channel_forbidden"
    title = "Channel not permitted"


@dataclass(frozen=True, slots=True)
class NewTicket:
    """A new ticket and its life in seconds."""

    ticket: str
    expires_in: int


def user_channel(user_id: UUID) -> str:
    """Return the channel of a user."""
    return f"user:{user_id}"


def permitted_channel(name: str, principal: Principal) -> str:
    """Return the channel with this name or alias.

    Raises:
        ChannelForbidden: It does not exist, it is another user's, or a permission is missing.
    """
    own = user_channel(principal.id)
    channel = own if name == OWN else name
    required = _OWN_REQUIRED if channel == own else REQUIRED.get(channel)
    if required is None or not principal.permissions.issuperset(required):
        raise ChannelForbidden
    return channel
