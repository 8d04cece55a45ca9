"""Who is asking: one query per request."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select, update

from app.domain.ids import ApiKeyId, SessionId, UserId
from app.domain.users import UserProfile
from app.models import ApiKey, AuthSession, User
from app.repositories.base import Reader, columns_of, table_of
from app.repositories.session import Session

_users = table_of(User).c
_sessions = table_of(AuthSession).c
_keys = table_of(ApiKey).c
_PROFILE = columns_of(User, UserProfile)
_PROFILE_LENGTH = len(fields(UserProfile))


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """A user who comes in by an API key, and what the key is good for."""

    user: UserProfile
    key_id: ApiKeyId
    scope: str
    last_used_at: datetime | None


class PrincipalReader(Reader):
    """Reads users by what they authenticate with; those who can't come in are not found."""

    async def by_session(
        self, user_id: UserId, session_id: SessionId, now: datetime
    ) -> UserProfile | None:
        """Return the active user of a login that has not ended."""
        statement: Select[Any] = (
            select(*_PROFILE)
            .join(AuthSession, _sessions.user_id == _users.id)
            .where(
                _users.id == user_id,
                _users.is_active,
                _sessions.id == session_id,
                _sessions.revoked_at.is_(None),
                _sessions.expires_at > now,
            )
        )
        return await self._one(statement, UserProfile)

    async def by_api_key(self, key_hash: str, now: datetime) -> KeyHolder | None:
        """Return the active user of a key that has not expired."""
        statement: Select[Any] = (
            select(*_PROFILE, _keys.id, _keys.scope, _keys.last_used_at)
            .join(ApiKey, _keys.user_id == _users.id)
            .where(
                _keys.key_hash == key_hash,
                _users.is_active,
                _keys.expires_at.is_(None) | (_keys.expires_at > now),
            )
        )
        row = (await self._execute(statement)).one_or_none()
        if row is None:
            return None
        return KeyHolder(UserProfile(*row[:_PROFILE_LENGTH]), *row[_PROFILE_LENGTH:])


async def touch_api_key(session: Session, key_id: ApiKeyId, now: datetime) -> None:
    """Store when a key was last used."""
    await session.execute(update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=now))
