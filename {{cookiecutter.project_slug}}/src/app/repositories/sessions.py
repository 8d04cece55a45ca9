"""Logins and their refresh tokens, stored."""

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import joinedload

from app.core.pages import Page, PageRequest
from app.domain.auth import LoginSession, SessionId
from app.domain.users import UserId
from app.infrastructure.database.repository import Reader, Repository, Sorts, columns_of, table_of
from app.models import AuthSession, RefreshToken

_sessions = table_of(AuthSession).c
_SESSION = columns_of(AuthSession, LoginSession)
_SORTS: Sorts = {"created_at": _sessions.created_at}


class SessionReader(Reader):
    """Reads logins."""

    async def page(self, user_id: UserId, now: datetime, page: PageRequest) -> Page[LoginSession]:
        """Return a page of a user's logins that have not ended, the latest first.

        Raises:
            InvalidInput: The cursor is not one of this list.
        """
        statement = select(*_SESSION).where(
            _sessions.user_id == user_id,
            _sessions.revoked_at.is_(None),
            _sessions.expires_at > now,
        )
        return await self._page(
            statement,
            LoginSession,
            page,
            sort="-created_at",
            sorts=_SORTS,
            id_column=_sessions.id,
        )


class SessionRepository(SessionReader, Repository[AuthSession]):
    """Stores logins."""

    entity = AuthSession

    async def revoke(self, user_id: UserId, session_id: SessionId, now: datetime) -> bool:
        """End one login of a user; tell whether there was one."""
        statement = (
            update(AuthSession)
            .where(
                AuthSession.id == session_id,
                AuthSession.user_id == user_id,
                AuthSession.revoked_at.is_(None),
                AuthSession.expires_at > now,
            )
            .values(revoked_at=now)
            .returning(AuthSession.id)
        )
        return (await self._session.execute(statement)).first() is not None

    async def revoke_all(
        self, user_id: UserId, now: datetime, *, but: SessionId | None = None
    ) -> list[SessionId]:
        """End all logins of a user, but one; return which have ended by that."""
        statement = update(AuthSession).where(
            AuthSession.user_id == user_id, AuthSession.revoked_at.is_(None)
        )
        if but is not None:
            statement = statement.where(AuthSession.id != but)
        ended = statement.values(revoked_at=now).returning(AuthSession.id)
        return [SessionId(session_id) for session_id in await self._session.scalars(ended)]

    async def delete_ended(self, now: datetime) -> int:
        """Delete the logins that have ended, with their tokens; return how many."""
        return await self._delete_where(
            (AuthSession.expires_at <= now) | AuthSession.revoked_at.is_not(None)
        )


class RefreshTokenRepository(Repository[RefreshToken]):
    """Stores refresh tokens, by their hash."""

    entity = RefreshToken

    async def find(self, token_hash: str) -> RefreshToken | None:
        """Return a token with its login and user, locked against a second use at once."""
        statement = (
            select(RefreshToken)
            .where(RefreshToken.token_hash == token_hash)
            .options(joinedload(RefreshToken.session).joinedload(AuthSession.user))
            .with_for_update(of=RefreshToken)
        )
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def delete_used(self, before: datetime) -> int:
        """Delete the tokens that were used before a moment; return how many."""
        return await self._delete_where(RefreshToken.used_at < before)
