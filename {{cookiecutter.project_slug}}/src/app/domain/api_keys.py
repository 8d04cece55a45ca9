"""API keys: how machines come in."""

from dataclasses import dataclass
from datetime import datetime
from typing import NewType
from uuid import UUID

from app.core.errors import Conflict, NotFound
from app.domain.permissions import Permission, permissions_in

ApiKeyId = NewType("ApiKeyId", UUID)


class ApiKeyNotFound(NotFound):
    """No such API key, or another's."""

    code = "api_key_not_found"
    title = "There is no such API key"


class ApiKeyNameTaken(Conflict):
    """The account has a key of this name already."""

    code = "api_key_name_taken"
    title = "You have an API key of this name"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is read: the key itself is shown once, when it is made.

    Attributes:
        hint: The last characters of the key, to recognise it by.
        scope: What it may do, as an OAuth scope string.
        last_used_at: To the minute.
    """

    id: ApiKeyId
    name: str
    hint: str
    scope: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None

    @property
    def scopes(self) -> list[Permission]:
        """What it may do."""
        return sorted(permissions_in(self.scope))


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key that was just made, with the secret that nobody sees again."""

    api_key: ApiKey
    key: str
