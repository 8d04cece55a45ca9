"""Storage of users."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import bindparam, or_, select, update

from app.core.pages import Page, PageRequest
from app.domain.users import (
    Credentials,
    ProfileFields,
    UserChanges,
    UserFilter,
    UserId,
    UserProfile,
    UserSort,
)
from app.infrastructure.database import Repository, in_orders
from app.infrastructure.database.repository import columns_of, read_as, table_of
from app.models import User

_users = table_of(User).c
_PROFILES = select(*columns_of(User, UserProfile))
_BY_ID = _PROFILES.where(_users.id == bindparam("user_id"))
_LISTS = in_orders(_PROFILES, User, "created_at", "username", "email")
_CREDENTIALS: Final = select(_users.id, _users.password_hash, _users.is_active, _users.role)
_BY_LOGIN = _CREDENTIALS.where(
    or_(_users.username == bindparam("login"), _users.email == bindparam("login"))
)


class UserRepository(Repository[User]):
    """Reads and writes users."""

    model = User

    async def get(self, user_id: UserId) -> UserProfile | None:
        """Return a user."""
        return await self.one(_BY_ID, UserProfile, user_id=user_id)

    async def list(
        self, where: UserFilter, sort: UserSort, request: PageRequest
    ) -> Page[UserProfile]:
        """Return a page of all users."""
        statement = _LISTS[sort]
        if where.role is not None:
            statement = statement.where(_users.role == where.role)
        if where.is_active is not None:
            statement = statement.where(_users.is_active == where.is_active)
        return await self.page(statement, UserProfile, request, sort=sort)

    async def credentials(self, login: str) -> Credentials | None:
        """Return the credentials of a user by a normalized user name or e-mail address."""
        return await self.one(_BY_LOGIN, Credentials, login=login)

    async def credentials_of(self, user_id: UserId) -> Credentials | None:
        """Return the credentials of a user by id."""
        return await self.one(_CREDENTIALS.where(_users.id == user_id), Credentials)

    async def are_current(self, credentials: Credentials) -> bool:
        """Return whether credentials are unchanged, and lock them until the transaction ends."""
        statement = _CREDENTIALS.where(_users.id == credentials.user_id).with_for_update(
            key_share=True
        )
        return await self.one(statement, Credentials) == credentials

    async def create(self, **fields: object) -> UserProfile:
        """Insert a user."""
        user = User(**fields)
        await self.add(user)
        return read_as(UserProfile, user)

    async def update(self, user: User, changes: ProfileFields | UserChanges) -> UserProfile:
        """Update a user."""
        await self.save(user, changes)
        return read_as(UserProfile, user)

    async def set_password_hash(self, user_id: UserId, password_hash: str) -> None:
        """Update the hash of a user's password."""
        statement = (
            update(table_of(User)).where(_users.id == user_id).values(password_hash=password_hash)
        )
        await self.session.execute(statement)

    async def lock_administrators(self) -> Sequence[UserId]:
        """Return the active administrators, locked until the transaction ends.

        All lock in the same order, so two administrators who remove each other take turns.
        """
        statement = (
            select(User.id)
            .where(User.role == "admin", User.is_active)
            .order_by(User.id)
            .with_for_update()
        )
        return [UserId(user_id) for user_id in await self.session.scalars(statement)]
