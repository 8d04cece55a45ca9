"""Settings of the database: SQLite."""

from collections.abc import Iterator
from typing import Annotated, Final
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr, field_validator

from app.core.config.base import SettingsGroup

DEVELOPMENT_URL: Final = "sqlite+aiosqlite:///./.dev/app.db"
_SCHEME: Final = "sqlite+aiosqlite"


class DatabaseSettings(SettingsGroup):
    """Database file, its connections and time limits."""

    url: SecretStr = SecretStr(DEVELOPMENT_URL)
    """Address of the database file: `sqlite+aiosqlite:///./relative/path` or, with four slashes,
    `sqlite+aiosqlite:////absolute/path`. `sqlite:///` is accepted as well."""

    pool_size: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Connections in the pool of each server process. Unset: `APP_SERVER__CONCURRENCY`."""

    max_overflow: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Connections beyond the pool, opened under load and closed again."""

    pool_timeout: Annotated[float, Field(gt=0, le=300)] = 5.0
    """Seconds that a request waits for a connection before it is answered with 503."""

    pool_recycle: Annotated[int, Field(ge=1)] = 1800
    """Maximum age of a connection, in seconds."""

    pool_pre_ping: bool = False
    """Test connections before use; a file needs no such test."""

    lock_timeout: Annotated[float, Field(gt=0, le=3600)] = 5.0
    """Seconds that a writer waits for those of its process, and again for others, before the
    request is answered with 503."""

    search_timeout: Annotated[float, Field(gt=0, le=300)] = 2.0
    """Seconds that a search (`q`) may take before the request is answered with 422."""

    snapshot_timeout: Annotated[float, Field(gt=0, le=86_400)] = 600.0
    """Seconds that an export may take in all, including a slow client."""

    slow_statement_ms: Annotated[int, Field(ge=0)] = 200
    """Duration from which statements are logged, in milliseconds: their text, never values."""

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: SecretStr) -> SecretStr:
        scheme, separator, rest = url.get_secret_value().strip().partition("://")
        if scheme not in {_SCHEME, "sqlite"} or not separator:
            raise ValueError(f"must start with {_SCHEME}:///")
        address = urlsplit(f"{_SCHEME}://{rest}")
        if address.netloc or address.path.strip("/") == "" or ":memory:" in address.path:
            # In memory, each connection of the pool would have a database of its own.
            raise ValueError(
                f"must name a file: {_SCHEME}:///./relative/path or {_SCHEME}:////absolute/path"
            )
        if address.query or "\0" in unquote(address.path):
            raise ValueError("must be a path only: options after a `?` have no effect")
        return SecretStr(f"{_SCHEME}://{rest}")

    def check(self, *, production: bool) -> Iterator[tuple[str, str]]:
        """Refuse the development database in production."""
        if production and self.url.get_secret_value() == DEVELOPMENT_URL:
            yield "url", "is the development database; give a path on a persistent disk"

    def open_files(self, concurrency: int) -> int:
        """Return three files per connection: the database, its log, and the log's index."""
        return 3 * ((self.pool_size or concurrency) + self.max_overflow)
