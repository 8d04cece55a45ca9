"""Who is asking."""

from dataclasses import dataclass
from datetime import datetime

from app.domain.errors import InsufficientScope
from app.domain.ids import ApiKeyId, SessionId, UserId
from app.domain.permissions import Permission
from app.domain.users import UserProfile


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
