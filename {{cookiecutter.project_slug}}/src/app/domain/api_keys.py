"""API keys: how machines come in."""

from dataclasses import dataclass
from datetime import datetime

from app.domain.ids import ApiKeyId
from app.domain.permissions import Permission, permissions_in


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
