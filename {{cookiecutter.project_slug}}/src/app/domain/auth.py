"""Authentication: principals, sessions and tokens."""

from dataclasses import dataclass
from datetime import datetime
from typing import NewType
from uuid import UUID

from app.core.errors import InsufficientScope, NotFound, TooManyRequests, Unauthenticated
from app.domain.api_keys import ApiKeyId
from app.domain.permissions import Permission
from app.domain.users import UserId, UserProfile

SessionId = NewType("SessionId", UUID)


class InvalidCredentials(Unauthenticated):
    """The name and the password do not belong together; which of the two is wrong stays unsaid."""

    code = "invalid_credentials"
    title = "The user name or the password is wrong"


class InvalidRefreshToken(Unauthenticated):
    """A refresh token that is unknown, expired or revoked."""

    code = "invalid_refresh_token"
    title = "The refresh token is not valid"


class RefreshTokenReused(InvalidRefreshToken):
    """A refresh token was presented twice: one of the two bearers is a thief (RFC 9700 §4.14.2)."""

    code = "refresh_token_reused"
    title = "The refresh token was used before"


class SessionNotFound(NotFound):
    """No such session, or another's."""

    code = "session_not_found"
    title = "There is no such session"


class TooManyLoginAttempts(TooManyRequests):
    """Too many failed logins for this account or from this address."""

    code = "too_many_login_attempts"
    title = "Too many failed logins"


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


@dataclass(frozen=True, slots=True)
class Principal:
    """A user, and how it came in.

    Attributes:
        user: The user, as stored when the request came.
        permissions: What this token may do: never more than the user's role.
        session_id: The login behind an access token.
        api_key_id: The key, where a machine asks.
    """

    user: UserProfile
    permissions: frozenset[Permission]
    session_id: SessionId | None = None
    api_key_id: ApiKeyId | None = None

    @property
    def id(self) -> UserId:
        """The user's id."""
        return self.user.id

    def require(self, permissions: tuple[str, ...]) -> None:
        """Pass if all the permissions are held.

        Raises:
            InsufficientScope: At least one is missing.
        """
        if not self.permissions.issuperset(permissions):
            raise InsufficientScope(permissions)


@dataclass(frozen=True, slots=True)
class SessionHolder:
    """An active user who comes in by a login, and when that ends unless it is refreshed."""

    user: UserProfile
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """An active user who comes in by an API key, and what the key is good for.

    Attributes:
        expires_at: When it ends; None for as long as it is not revoked.
    """

    user: UserProfile
    key_id: ApiKeyId
    scope: str
    expires_at: datetime | None
    last_used_at: datetime | None
