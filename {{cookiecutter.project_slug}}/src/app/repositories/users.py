"""Users, stored."""

from typing import Any

from sqlalchemy import Select, bindparam, or_, select, update

from app.core.pages import Page, PageRequest
from app.domain.users import Credentials, UserFilter, UserId, UserProfile, UserSort
from app.infrastructure.database.repository import Reader, Repository, Sorts, columns_of, table_of
from app.infrastructure.database.statements import Statement
from app.models import User

_users = table_of(User).c
_PROFILE = columns_of(User, UserProfile)
_CREDENTIALS = (_users.id, _users.password_hash, _users.is_active, _users.role)
_SORTS: Sorts = {
    "created_at": _users.created_at,
    "username": _users.username,
    "email": _users.email,
}


class UserReader(Reader):
    """Reads users."""

    async def profile(self, user_id: UserId) -> UserProfile | None:
        """Return one user."""
        return await self._one(Statement(_profile_of), UserProfile, user_id=user_id)

    async def page(
        self, wanted: UserFilter, sort: UserSort, page: PageRequest
    ) -> Page[UserProfile]:
        """Return a page of all users.

        Raises:
            InvalidInput: The cursor is not one of this list.
        """
        statement = select(*_PROFILE)
        if wanted.role is not None:
            statement = statement.where(_users.role == wanted.role)
        if wanted.is_active is not None:
            statement = statement.where(_users.is_active == wanted.is_active)
        return await self._page(
            statement, UserProfile, page, sort=sort, sorts=_SORTS, id_column=_users.id
        )

    async def credentials(self, login: str) -> Credentials | None:
        """Return what a login is checked against.

        Args:
            login: The user name or the e-mail address, normalized.
        """
        named = or_(_users.username == login, _users.email == login)
        return await self._one(select(*_CREDENTIALS).where(named), Credentials)

    async def credentials_of(self, user_id: UserId) -> Credentials | None:
        """Return what the password of a known user is checked against."""
        return await self._one(select(*_CREDENTIALS).where(_users.id == user_id), Credentials)


class UserRepository(UserReader, Repository[User]):
    """Stores users."""

    entity = User

    async def are_current(self, credentials: Credentials) -> bool:
        """Tell whether credentials are still what is stored; if so, they stay until the end."""
        statement = (
            select(*_CREDENTIALS)
            .where(_users.id == credentials.user_id)
            .with_for_update(key_share=True)
        )
        return await self._one(statement, Credentials) == credentials

    async def set_password_hash(self, user_id: UserId, password_hash: str) -> None:
        """Store a new hash of a user's password."""
        statement = update(User).where(User.id == user_id).values(password_hash=password_hash)
        await self._session.execute(statement)

    async def lock_administrators(self) -> list[UserId]:
        """Return the active administrators, locked until the transaction ends.

        The lock, taken in one order by all, makes two administrators who remove each other at
        once take turns.
        """
        statement = (
            select(User.id)
            .where(User.role == "admin", User.is_active)
            .order_by(User.id)
            .with_for_update()
        )
        return [UserId(user_id) for user_id in await self._session.scalars(statement)]


def _profile_of() -> Select[Any]:
    return select(*_PROFILE).where(_users.id == bindparam("user_id"))
