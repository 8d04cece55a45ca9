"""Rows that tests start from: users, their sessions and other data."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import Any

from anyio.from_thread import BlockingPortal
from sqlalchemy import Executable, Row

from app import models
from app.core.clock import utc_now
from app.core.ports import Job
from app.core.security.secrets import digest, new_api_key, new_refresh_token
from app.domain.auth import Principal, SessionId
from app.domain.permissions import ROLES, Permission, Role, scope_of
from app.domain.users import UserId, UserProfile
from app.infrastructure.database.repository import read_as
from app.infrastructure.payloads import load
from app.models import Base
from app.resources import Resources
from app.tasks import TASKS
from tests.support.factories import AuthSessionFactory, UserFactory, a_row_of_each_table

PASSWORD = "Analytical1Engine"
Jobs = Callable[[], list[Job]]
KINDS = {kind.__name__: kind for kind in TASKS}


@dataclass(frozen=True, slots=True)
class Account:
    """A logged-in user.

    Attributes:
        headers: The `Authorization` header with an access token.
        refresh_token: The token that belongs to the same session.
    """

    id: UserId
    email: str
    username: str
    password: str
    session_id: SessionId
    access_token: str
    refresh_token: str

    @property
    def headers(self) -> dict[str, str]:
        return bearer(self.access_token)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def jobs_in(rows: Iterable[Row[Any]]) -> list[Job]:
    """Return the jobs in rows of the outbox."""
    return [load(row.kind, row.payload, row.created_at, KINDS).job for row in rows]


def gone() -> Principal:
    """Return a principal whose account was deleted after authentication."""
    now = utc_now().timestamp()
    return Principal(read_as(UserProfile, UserFactory.build()), ROLES["user"], authenticated_at=now)


class Arrange:
    """Stores rows in the database of the application."""

    def __init__(self, resources: Callable[[], Resources], password_hash: str) -> None:
        self._resources = resources
        self._password_hash = password_hash

    async def account(
        self,
        role: Role = "user",
        permissions: frozenset[Permission] | None = None,
        *,
        logged_in: timedelta = timedelta(),
        **fields: Any,
    ) -> Account:
        """Store a user who logged in this long ago.

        The token has all permissions of the role, or those given.
        """
        login_time = utc_now() - logged_in
        user = UserFactory.build(role=role, password_hash=self._password_hash, **fields)
        scope = scope_of(ROLES[role] if permissions is None else permissions)
        login = AuthSessionFactory.build(user_id=user.id, scope=scope, created_at=login_time)
        refresh_token = new_refresh_token()
        token = models.RefreshToken(session_id=login.id, token_hash=digest(refresh_token))
        await self.store(user, login, token)
        user_id, session_id = UserId(user.id), SessionId(login.id)
        return Account(
            id=user_id,
            email=user.email,
            username=user.username,
            password=PASSWORD,
            session_id=session_id,
            access_token=self._resources().tokens.issue(user_id, session_id, scope, login_time),
            refresh_token=refresh_token,
        )

    async def a_row_of_each_table(self, owner: Account) -> dict[str, dict[str, Any]]:
        """Store a row of a user in each table; return them by table."""
        async with self._resources().database.transaction() as session:
            rows = a_row_of_each_table(await session.get_one(models.User, owner.id))
            for table in Base.metadata.sorted_tables:
                if table.name != "users":
                    await session.execute(table.insert().values(rows[table.name]))
        return rows

    async def api_key(self, owner: Account, permissions: frozenset[Permission]) -> str:
        """Store an API key; return the key."""
        key = new_api_key()
        row = models.ApiKey(
            user_id=owner.id,
            name=f"key {key[-6:]}",
            key_hash=digest(key),
            hint=key[-4:],
            scope=scope_of(permissions),
            expires_at=utc_now() + timedelta(days=1),
        )
        await self.store(row)
        return key

    async def store(self, *rows: Base) -> None:
        """Store rows."""
        async with self._resources().database.transaction() as session:
            for _, group in groupby(rows, type):
                session.add_all(group)
                await session.flush()  # in the order given: some refer to those before

    async def execute(self, statement: Executable) -> None:
        """Execute a statement."""
        async with self._resources().database.transaction() as session:
            await session.execute(statement)

    async def rows(self, statement: Executable) -> list[Row[Any]]:
        """Return the rows of a statement."""
        async with self._resources().database.read() as connection:
            return list((await connection.execute(statement)).all())


class ArrangeSync:
    """`Arrange` for synchronous tests: runs on the loop of the application."""

    def __init__(self, arrange: Arrange, portal: BlockingPortal) -> None:
        self._arrange = arrange
        self._portal = portal

    def account(
        self, role: Role = "user", permissions: frozenset[Permission] | None = None, **fields: Any
    ) -> Account:
        return self._portal.call(lambda: self._arrange.account(role, permissions, **fields))

    def a_row_of_each_table(self, owner: Account) -> dict[str, dict[str, Any]]:
        return self._portal.call(self._arrange.a_row_of_each_table, owner)

    def api_key(self, owner: Account, permissions: frozenset[Permission]) -> str:
        return self._portal.call(self._arrange.api_key, owner, permissions)

    def store(self, *rows: Base) -> None:
        self._portal.call(self._arrange.store, *rows)

    def execute(self, statement: Executable) -> None:
        self._portal.call(self._arrange.execute, statement)

    def rows(self, statement: Executable) -> list[Row[Any]]:
        return self._portal.call(self._arrange.rows, statement)
