"""Who is asking: one query per request."""

from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import Select, bindparam, select, update

from app.domain.api_keys import ApiKeyId
from app.domain.auth import KeyHolder, SessionHolder, SessionId
from app.domain.users import UserId, UserProfile
from app.infrastructure.database.repository import Reader, columns_of, table_of
from app.infrastructure.database.session import Session
from app.infrastructure.database.statements import Statement
from app.models import ApiKey, AuthSession, User

_users = table_of(User).c
_sessions = table_of(AuthSession).c
_keys = table_of(ApiKey).c
_PROFILE = columns_of(User, UserProfile)
_PROFILE_LENGTH = len(fields(UserProfile))


class PrincipalReader(Reader):
    """Reads users by what they authenticate with; those who can't come in are not found."""

    async def by_session(
        self, user_id: UserId, session_id: SessionId, now: datetime
    ) -> SessionHolder | None:
        """Return the active user of a login that has not ended."""
        rows = await self._rows(
            Statement(_of_session), user_id=user_id, session_id=session_id, now=now
        )
        if not rows:
            return None
        (row,) = rows
        return SessionHolder(UserProfile(*row[:_PROFILE_LENGTH]), *row[_PROFILE_LENGTH:])

    async def by_api_key(self, key_hash: str, now: datetime) -> KeyHolder | None:
        """Return the active user of a key that has not expired."""
        rows = await self._rows(Statement(_of_api_key), key_hash=key_hash, now=now)
        if not rows:
            return None
        (row,) = rows
        return KeyHolder(UserProfile(*row[:_PROFILE_LENGTH]), *row[_PROFILE_LENGTH:])


async def touch_api_key(session: Session, key_id: ApiKeyId, now: datetime) -> None:
    """Store when a key was last used."""
    await session.execute(update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=now))


def _of_session() -> Select[Any]:
    return (
        select(*_PROFILE, _sessions.expires_at)
        .join(AuthSession, _sessions.user_id == _users.id)
        .where(
            _users.id == bindparam("user_id"),
            _users.is_active,
            _sessions.id == bindparam("session_id"),
            _sessions.revoked_at.is_(None),
            _sessions.expires_at > bindparam("now"),
        )
    )


def _of_api_key() -> Select[Any]:
    return (
        select(*_PROFILE, _keys.id, _keys.scope, _keys.expires_at, _keys.last_used_at)
        .join(ApiKey, _keys.user_id == _users.id)
        .where(
            _keys.key_hash == bindparam("key_hash"),
            _users.is_active,
            _keys.expires_at.is_(None) | (_keys.expires_at > bindparam("now")),
        )
    )
