"""Storage of tickets, and the queries that recheck connections."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.ids import new_id
from app.core.security.tickets import TICKET_MARK
from app.domain.auth import SessionId
from app.domain.users import UserProfile
from app.infrastructure.database import Session
from app.infrastructure.database.repository import columns_of, table_of
from app.models.api_keys import ApiKey
from app.models.sessions import AuthSession, RefreshToken
from app.models.users import User

_users = table_of(User).c
_sessions = table_of(AuthSession).c
_keys = table_of(ApiKey).c
_PROFILE = columns_of(User, UserProfile)
_OF_SESSIONS = (
    select(*_PROFILE, _sessions.id, _sessions.scope)
    .join(AuthSession, _sessions.user_id == _users.id)
    .where(
        _sessions.id.in_(bindparam("ids", expanding=True)),
        _users.is_active,
        _sessions.revoked_at.is_(None),
        _sessions.expires_at > bindparam("now"),
    )
)
_OF_KEYS = (
    select(*_PROFILE, _keys.id, _keys.scope)
    .join(ApiKey, _keys.user_id == _users.id)
    .where(
        _keys.id.in_(bindparam("ids", expanding=True)),
        _users.is_active,
        _keys.expires_at > bindparam("now"),
    )
)

Credential = tuple[UserProfile, str]
"""A user, and the scope of the session or API key."""


class TicketRepository:
    """Stores tickets in the table of refresh tokens; their hashes never collide."""

    def __init__(self, session: Session) -> None:
        """Work inside the transaction of this session."""
        self._session = session

    async def add(
        self, session_id: SessionId, ticket_hash: str, now: datetime, expired: datetime
    ) -> None:
        """Store a ticket of a session, and delete those issued until `expired`."""
        await self._session.execute(
            delete(RefreshToken)
            .where(
                RefreshToken.session_id == session_id,
                RefreshToken.token_hash.startswith(TICKET_MARK),
                RefreshToken.created_at <= expired,
            )
            .execution_options(synchronize_session=False)
        )
        await self._session.execute(
            insert(RefreshToken).values(
                id=new_id(), session_id=session_id, token_hash=ticket_hash, created_at=now
            )
        )

    async def use(self, ticket_hash: str, made_after: datetime, now: datetime) -> SessionId | None:
        """Redeem a ticket, once across all processes; return its session if the ticket is valid."""
        statement = (
            update(RefreshToken)
            .where(
                RefreshToken.token_hash == ticket_hash,
                RefreshToken.used_at.is_(None),
                RefreshToken.created_at > made_after,
            )
            .values(used_at=now)
            .returning(RefreshToken.session_id)
            .execution_options(synchronize_session=False)
        )
        found = (await self._session.execute(statement)).scalar_one_or_none()
        return None if found is None else SessionId(found)


class CredentialReader:
    """Reads active users by session or API key; ended and expired ones are left out."""

    def __init__(self, session: Session | AsyncConnection) -> None:
        """Read in the transaction of a session, or on a connection."""
        self._session = session

    async def of_sessions(self, ids: Collection[UUID], now: datetime) -> Mapping[UUID, Credential]:
        """Return active users by the ids of their sessions."""
        return await self._by_id(_OF_SESSIONS, ids, now)

    async def of_keys(self, ids: Collection[UUID], now: datetime) -> Mapping[UUID, Credential]:
        """Return active users by the ids of their API keys."""
        return await self._by_id(_OF_KEYS, ids, now)

    async def _by_id(
        self, statement: Select[Any], ids: Collection[UUID], now: datetime
    ) -> Mapping[UUID, Credential]:
        rows = await self._session.execute(statement, {"ids": list(ids), "now": now})
        return {row[-2]: (UserProfile(*row[:-2]), row[-1]) for row in rows}
