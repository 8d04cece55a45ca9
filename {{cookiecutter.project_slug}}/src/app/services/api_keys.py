"""API keys: how machines come in."""

from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from app import models
from app.core.clock import utc_now
from app.core.errors import InsufficientScope
from app.core.pages import Page, PageRequest
from app.core.security.secrets import digest, new_api_key
from app.domain.api_keys import ApiKey, ApiKeyId, ApiKeyNotFound, NewApiKey
from app.domain.auth import Principal
from app.domain.permissions import DelegablePermission, scope_of
from app.domain.users import UserId
from app.infrastructure.database.session import Session
from app.repositories.api_keys import ApiKeyReader, ApiKeyRepository
from app.services.ports import PrincipalCache

_HINT_LENGTH = 4


@dataclass(frozen=True, slots=True)
class ApiKeyQueries:
    """Reads keys."""

    keys: ApiKeyReader

    async def page(self, user_id: UserId, page: PageRequest) -> Page[ApiKey]:
        """Return a page of a user's keys, the latest first.

        Raises:
            InvalidInput: The cursor is not one of this list.
        """
        return await self.keys.page(user_id, page)


@dataclass(frozen=True, slots=True)
class ApiKeyService:
    """Makes and revokes keys, inside the transaction of a session."""

    keys: ApiKeyRepository
    session: Session
    principals: PrincipalCache

    async def create(
        self,
        principal: Principal,
        name: str,
        scopes: frozenset[DelegablePermission],
        expires_in_days: int | None,
    ) -> NewApiKey:
        """Make a key.

        Args:
            principal: Whose key it will be.
            name: What its owner calls it.
            scopes: What it may do.
            expires_in_days: How long it is good for; `None` for as long as it is not revoked.

        Raises:
            InsufficientScope: The owner lacks one of the permissions.
            ApiKeyNameTaken: The owner has a key of this name.
            InvalidToken: The owner was deleted meanwhile.
        """
        if missing := scopes - principal.permissions:
            raise InsufficientScope(tuple(sorted(missing)))
        key, now = new_api_key(), utc_now()
        row = models.ApiKey(
            user_id=principal.id,
            name=name,
            key_hash=digest(key),
            hint=key[-_HINT_LENGTH:],
            scope=scope_of(scopes),
            created_at=now,
            expires_at=now + timedelta(days=expires_in_days) if expires_in_days else None,
        )
        await self.keys.add(row)
        api_key = ApiKey(
            id=ApiKeyId(row.id),
            name=row.name,
            hint=row.hint,
            scope=row.scope,
            created_at=row.created_at,
            expires_at=row.expires_at,
            last_used_at=None,
        )
        return NewApiKey(api_key, key)

    async def revoke(self, user_id: UserId, key_id: ApiKeyId) -> None:
        """Make a key useless.

        Raises:
            ApiKeyNotFound: The user has none of this id.
        """
        key_hash = await self.keys.revoke(user_id, key_id)
        if key_hash is None:
            raise ApiKeyNotFound
        self.session.after_commit(partial(self.principals.forget_api_key, key_hash))
