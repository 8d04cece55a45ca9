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
    """The username or the password is wrong; the response does not reveal which."""

    code = "invalid_credentials"
    title = "Incorrect username or password"


class InvalidRefreshToken(Unauthenticated):
    """A refresh token that is unknown, expired or revoked."""

    code = "invalid_refresh_token"
    title = "Invalid refresh token"


class RefreshTokenReused(InvalidRefreshToken):
    """A refresh token was presented twice: one of the two bearers is a thief (RFC 9700 §4.14.2)."""

    code = "refresh_token_reused"
    title = "Refresh token already used"


class SessionNotFound(NotFound):
    """The session does not exist or belongs to another user."""

    code = "session_not_found"
    title = "Session not found"


class TooManyLoginAttempts(TooManyRequests):
    """Too many failed logins for this account, device or network."""

    code = "too_many_login_attempts"
    title = "Too many failed logins"


@dataclass(frozen=True, slots=True)
class LoginSession:
    """A login session."""

    id: SessionId
    user_agent: str
    ip_address: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Client:
    """Origin of a request: the address behind trusted proxies, and the user agent, truncated."""

    ip_address: str
    user_agent: str


@dataclass(frozen=True, slots=True)
class AccessToken:
    """Result of a step-up; `expires_in` is the lifetime of the access token in seconds."""

    access_token: str
    expires_in: int
    scope: str


@dataclass(frozen=True, slots=True)
class TokenPair(AccessToken):
    """Result of a login or a refresh; only a login has a device token."""

    refresh_token: str
    device_token: str | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated user, with the permissions of their access token or API key.

    Attributes:
        authenticated_at: Time at which the user entered the password, in seconds since 1970; only
            access tokens have one.
    """

    user: UserProfile
    permissions: frozenset[Permission]
    session_id: SessionId | None = None
    api_key_id: ApiKeyId | None = None
    authenticated_at: float | None = None

    @property
    def id(self) -> UserId:
        """Return the id of the user."""
        return self.user.id

    def require(self, permissions: tuple[str, ...]) -> None:
        """Require permissions.

        Raises:
            InsufficientScope: A permission is missing.
        """
        if not self.permissions.issuperset(permissions):
            raise InsufficientScope(permissions)


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """The active user of a valid API key."""

    user: UserProfile
    key_id: ApiKeyId
    scope: str
    last_used_at: datetime | None
