"""Storage of login sessions and their refresh tokens."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, insert, literal, select, update
from sqlalchemy.orm import joinedload

from app.core.ids import new_id
from app.core.pages import Page, PageRequest
from app.domain.auth import Client, LoginSession, SessionId
from app.domain.users import Credentials, UserId, UserProfile
from app.infrastructure.database import Repository, in_orders
from app.infrastructure.database.dialect import DirectQuery
from app.infrastructure.database.repository import columns_of, delete_where, table_of
from app.models.sessions import AuthSession, RefreshToken
from app.models.users import User

_users = table_of(User).c
_table = table_of(AuthSession)
_sessions = _table.c
_NOT_REVOKED = _sessions.revoked_at.is_(None)
_OWNED = select(*columns_of(AuthSession, LoginSession)).where(
    _sessions.user_id == bindparam("user_id"),
    _NOT_REVOKED,
    _sessions.expires_at > bindparam("now"),
)
_LISTS = in_orders(_OWNED, AuthSession, "created_at")
_HOLDER = DirectQuery(
    select(*columns_of(User, UserProfile))
    .join(AuthSession, _sessions.user_id == _users.id)
    .where(
        _users.id == bindparam("user_id"),
        _users.is_active,
        _sessions.id == bindparam("session_id"),
        _NOT_REVOKED,
        _sessions.expires_at > bindparam("now"),
    )
)


class SessionRepository(Repository[AuthSession]):
    """Reads and writes login sessions."""

    model = AuthSession

    async def holder(self, user_id: UUID, session_id: UUID, now: datetime) -> UserProfile | None:
        """Return the active user of a session that has not ended."""
        row = await _HOLDER.first(self.session, user_id=user_id, session_id=session_id, now=now)
        return None if row is None else UserProfile(*row)

    async def list(
        self, user_id: UserId, now: datetime, request: PageRequest
    ) -> Page[LoginSession]:
        """Return a page of a user's sessions that have not ended, latest first."""
        sort = "-created_at"
        return await self.page(
            _LISTS[sort], LoginSession, request, sort=sort, user_id=user_id, now=now
        )

    async def open(
        self,
        credentials: Credentials,
        scope: str,
        client: Client,
        *,
        now: datetime,
        expires_at: datetime,
        unless: ColumnElement[bool],
    ) -> SessionId | None:
        """Insert a session if the verified credentials are unchanged, and lock them.

        This is a single statement, so that nothing changes between the check and the insert.
        `unless` is another condition that prevents the session.
        """
        session_id = new_id()
        values = {
            _sessions.id: session_id,
            _sessions.user_id: credentials.user_id,
            _sessions.scope: scope,
            _sessions.user_agent: client.user_agent,
            _sessions.ip_address: client.ip_address,
            _sessions.created_at: now,
            _sessions.last_used_at: now,
            _sessions.expires_at: expires_at,
        }
        checked = (
            select(*(literal(value, column.type) for column, value in values.items()))
            .select_from(User)
            .where(
                _users.id == credentials.user_id,
                _users.password_hash == credentials.password_hash,
                _users.is_active == credentials.is_active,
                _users.role == credentials.role,
                ~unless,
            )
            .with_for_update(key_share=True)
        )
        statement = insert(_table).from_select(list(values), checked)
        opened = await self.session.scalar(statement.returning(_sessions.id))
        return None if opened is None else SessionId(session_id)

    async def revoke(self, user_id: UserId, session_id: SessionId, now: datetime) -> bool:
        """Revoke an active session of a user; return whether it existed."""
        statement = (
            update(_table)
            .where(
                _sessions.id == session_id,
                _sessions.user_id == user_id,
                _NOT_REVOKED,
                _sessions.expires_at > now,
            )
            .values(revoked_at=now)
            .returning(_sessions.id)
        )
        return await self.session.scalar(statement) is not None

    async def revoke_all(
        self, user_id: UserId, now: datetime, *, but: SessionId | None = None
    ) -> None:
        """Revoke all sessions of a user, except one."""
        statement = update(_table).where(_sessions.user_id == user_id, _NOT_REVOKED)
        if but is not None:
            statement = statement.where(_sessions.id != but)
        await self.session.execute(statement.values(revoked_at=now))

    async def revoke_beyond(self, user_id: UserId, count: int, now: datetime) -> None:
        """Revoke a user's least recently used sessions, and keep `count`."""
        kept = (
            select(_sessions.id)
            .where(_sessions.user_id == user_id, _NOT_REVOKED, _sessions.expires_at > now)
            .order_by(_sessions.last_used_at.desc(), _sessions.id.desc())
        )
        beyond = _sessions.id.in_(kept.offset(count).scalar_subquery())
        await self.session.execute(update(_table).where(beyond).values(revoked_at=now))

    async def delete_ended(self, now: datetime) -> int:
        """Delete the sessions that have ended, with their tokens; return their number."""
        ended = (_sessions.expires_at <= now) | _sessions.revoked_at.is_not(None)
        return await delete_where(self.session, AuthSession, ended)

    async def find_token(self, token_hash: str) -> RefreshToken | None:
        """Return a refresh token with its session and user, locked against a concurrent use."""
        statement = (
            select(RefreshToken)
            .where(RefreshToken.token_hash == token_hash)
            .options(joinedload(RefreshToken.session).joinedload(AuthSession.user))
            .with_for_update(of=RefreshToken)
        )
        token: RefreshToken | None = await self.session.scalar(statement)
        return token

    async def add_token(self, session_id: SessionId, token_hash: str) -> None:
        """Insert a refresh token of a session."""
        self.session.add(RefreshToken(session_id=session_id, token_hash=token_hash))
        await self.session.flush()
