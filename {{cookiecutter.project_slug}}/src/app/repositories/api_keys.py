"""API keys, stored as hashes."""

from sqlalchemy import delete, select

from app import models
from app.core.pages import Page, PageRequest
from app.domain.api_keys import ApiKey, ApiKeyId
from app.domain.users import UserId
from app.infrastructure.database.repository import Reader, Repository, Sorts, columns_of, table_of

_keys = table_of(models.ApiKey).c
_KEY = columns_of(models.ApiKey, ApiKey)
_SORTS: Sorts = {"created_at": _keys.created_at}


class ApiKeyReader(Reader):
    """Reads keys."""

    async def page(self, user_id: UserId, page: PageRequest) -> Page[ApiKey]:
        """Return a page of a user's keys, the latest first.

        Raises:
            InvalidInput: The cursor is not one of this list.
        """
        statement = select(*_KEY).where(_keys.user_id == user_id)
        return await self._page(
            statement, ApiKey, page, sort="-created_at", sorts=_SORTS, id_column=_keys.id
        )


class ApiKeyRepository(ApiKeyReader, Repository[models.ApiKey]):
    """Stores keys."""

    entity = models.ApiKey

    async def revoke(self, user_id: UserId, key_id: ApiKeyId) -> str | None:
        """Delete a key of a user; return its hash, or None if there was none."""
        statement = (
            delete(models.ApiKey)
            .where(models.ApiKey.id == key_id, models.ApiKey.user_id == user_id)
            .returning(models.ApiKey.key_hash)
        )
        key_hash: str | None = await self._session.scalar(statement)
        return key_hash
