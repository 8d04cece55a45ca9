"""API keys, for machines."""

from dataclasses import dataclass
from datetime import datetime
from typing import NewType
from uuid import UUID

from app.core.errors import Conflict, NotFound
from app.domain.permissions import Permission, permissions_in

ApiKeyId = NewType("ApiKeyId", UUID)


class ApiKeyNotFound(NotFound):
    """The API key does not exist or belongs to another user."""

    code = "api_key_not_found"
    title = "API key not found"


class ApiKeyNameTaken(Conflict):
    """The user has another key of this name."""

    code = "api_key_name_taken"
    title = "API key name already in use"


class TooManyApiKeys(Conflict):
    """The user has as many API keys as an account may have."""

    code = "too_many_api_keys"
    title = "Too many API keys"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key; of the secret it has only the last characters, its hint."""

    id: ApiKeyId
    name: str
    hint: str
    scope: str
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None

    @property
    def scopes(self) -> list[Permission]:
        """Return the permissions."""
        return sorted(permissions_in(self.scope))


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A new key with its secret, which is shown only once."""

    api_key: ApiKey
    key: str
