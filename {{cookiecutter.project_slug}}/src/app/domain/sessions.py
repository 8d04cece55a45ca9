"""Login sessions: one per login, alive as long as its refresh tokens are renewed."""

from dataclasses import dataclass
from datetime import datetime

from app.domain.ids import SessionId


@dataclass(frozen=True, slots=True)
class LoginSession:
    """A login that can be ended."""

    id: SessionId
    user_agent: str
    ip_address: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Client:
    """Where a login comes from, as far as we can tell.

    Attributes:
        ip_address: The peer's address, after the proxies that we trust.
        user_agent: What the client calls itself, cut to a length that we store.
    """

    ip_address: str
    user_agent: str


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a login or a refresh gives.

    Attributes:
        access_token: A signed JWT (RFC 9068).
        refresh_token: Opaque, good for one use.
        expires_in: Life of the access token in seconds.
        scope: The permissions granted, separated by spaces.
    """

    access_token: str
    refresh_token: str
    expires_in: int
    scope: str
