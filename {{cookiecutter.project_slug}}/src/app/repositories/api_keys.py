"""Storage of API keys, by their hash."""

from datetime import datetime

from sqlalchemy import bindparam, delete, select, update

from app.core.pages import Page, PageRequest
from app.domain.api_keys import ApiKey, ApiKeyId
from app.domain.auth import KeyHolder
from app.domain.users import UserId, UserProfile
from app.infrastructure.database import Repository, in_orders
from app.infrastructure.database.dialect import DirectQuery
from app.infrastructure.database.repository import columns_of, read_as, table_of
from app.models.api_keys import ApiKey as ApiKeyRow
from app.models.users import User

_users = table_of(User).c
_table = table_of(ApiKeyRow)
_keys = _table.c
_OWNED = select(*columns_of(ApiKeyRow, ApiKey)).where(_keys.user_id == bindparam("user_id"))
_LISTS = in_orders(_OWNED, ApiKeyRow, "created_at")
_PROFILE = columns_of(User, UserProfile)
_HOLDER = DirectQuery(
    select(*_PROFILE, _keys.id, _keys.scope, _keys.last_used_at)
    .join(ApiKeyRow, _keys.user_id == _users.id)
    .where(
        _keys.key_hash == bindparam("key_hash"),
        _users.is_active,
        _keys.expires_at > bindparam("now"),
    )
)


class ApiKeyRepository(Repository[ApiKeyRow]):
    """Reads and writes API keys."""

    model = ApiKeyRow

    async def list(self, user_id: UserId, request: PageRequest) -> Page[ApiKey]:
        """Return a page of a user's keys, latest first."""
        sort = "-created_at"
        return await self.page(_LISTS[sort], ApiKey, request, sort=sort, user_id=user_id)

    async def holder(self, key_hash: str, now: datetime) -> KeyHolder | None:
        """Return the active user of a key that has not expired."""
        row = await _HOLDER.first(self.session, key_hash=key_hash, now=now)
        if row is None:
            return None
        *profile, key_id, scope, last_used_at = row
        return KeyHolder(UserProfile(*profile), key_id, scope, last_used_at)

    async def reaches(self, user_id: UserId, count: int) -> bool:
        """Return whether a user has at least `count` keys, expired ones included."""
        return await self.has(count, _keys.user_id == user_id)

    async def create(self, **fields: object) -> ApiKey:
        """Insert a key."""
        row = ApiKeyRow(**fields)
        await self.add(row)
        return read_as(ApiKey, row)

    async def touch(self, key_id: ApiKeyId, now: datetime) -> None:
        """Record the last use of a key."""
        statement = update(_table).where(_keys.id == key_id).values(last_used_at=now)
        await self.session.execute(statement)

    async def revoke(self, user_id: UserId, key_id: ApiKeyId) -> bool:
        """Delete a key of a user; return whether it existed."""
        statement = delete(_table).where(_keys.id == key_id, _keys.user_id == user_id)
        deleted = await self.session.scalar(statement.returning(_keys.id))
        return deleted is not None

    async def revoke_all(self, user_id: UserId) -> None:
        """Delete all keys of a user."""
        await self.session.execute(delete(_table).where(_keys.user_id == user_id))
