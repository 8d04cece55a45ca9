"""API keys."""

from dataclasses import dataclass
from datetime import timedelta

from app.core.clock import utc_now
from app.core.errors import FieldError, InsufficientScope, InvalidInput
from app.core.pages import Page, PageRequest
from app.core.ports import Jobs
from app.core.security.secrets import digest, new_api_key
from app.domain.api_keys import ApiKey, ApiKeyId, ApiKeyNotFound, NewApiKey, TooManyApiKeys
from app.domain.auth import Principal
from app.domain.notifications import SendMail
from app.domain.permissions import DelegablePermission, scope_of
from app.domain.users import UserId
from app.repositories.api_keys import ApiKeyRepository

_HINT_LENGTH = 4
_DEFAULT_DAYS = 90


@dataclass(frozen=True, slots=True)
class ApiKeyService:
    """Use cases of API keys."""

    keys: ApiKeyRepository
    jobs: Jobs
    quota: int
    max_days: int

    async def list(self, user_id: UserId, request: PageRequest) -> Page[ApiKey]:
        """Return a page of a user's keys, latest first."""
        return await self.keys.list(user_id, request)

    async def create(
        self,
        principal: Principal,
        name: str,
        scopes: frozenset[DelegablePermission],
        expires_in_days: int | None,
    ) -> NewApiKey:
        """Create a key, by default for 90 days or the maximum; notify the user.

        Raises:
            InvalidInput: The key would last too long.
            InsufficientScope: The principal lacks one of the permissions.
            TooManyApiKeys: The user has as many as the quota allows.
            ApiKeyNameTaken: The user has a key of this name.
            InvalidToken: The user was deleted in the meantime.
        """
        days = expires_in_days or min(_DEFAULT_DAYS, self.max_days)
        if days > self.max_days:
            message = f"Input should be less than or equal to {self.max_days}"
            raise InvalidInput(FieldError("body.expires_in_days", message, "less_than_equal"))
        if missing := scopes - principal.permissions:
            raise InsufficientScope(tuple(sorted(missing)))
        if await self.keys.reaches(principal.id, self.quota):
            raise TooManyApiKeys(f"An account may have {self.quota}. Revoke one first.")
        key, now = new_api_key(), utc_now()
        api_key = await self.keys.create(
            user_id=principal.id,
            name=name,
            key_hash=digest(key),
            hint=key[-_HINT_LENGTH:],
            scope=scope_of(scopes),
            created_at=now,
            expires_at=now + timedelta(days=days),
        )
        values = {"name": name, "hint": api_key.hint}
        await self.jobs.enqueue(SendMail("api_key_created", principal.id, values=values))
        return NewApiKey(api_key, key)

    async def revoke(self, user_id: UserId, key_id: ApiKeyId) -> None:
        """Revoke a key.

        Raises:
            ApiKeyNotFound: The user has no such key.
        """
        if not await self.keys.revoke(user_id, key_id):
            raise ApiKeyNotFound
