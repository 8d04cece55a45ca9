"""Settings of the database: SQLite."""

from collections.abc import Iterator
from typing import Annotated
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr, field_validator

from app.core.config.base import Fault, SettingsGroup

DEVELOPMENT_URL = "sqlite+aiosqlite:///./.dev/app.db"
_SCHEME = "sqlite+aiosqlite"


class DatabaseSettings(SettingsGroup):
    """Where the database file is, and how many connections read and write it."""

    url: SecretStr = SecretStr(DEVELOPMENT_URL)
    """Address of the database file: `sqlite+aiosqlite:///./relative/path` or, with four slashes,
    `sqlite+aiosqlite:////absolute/path`. The short `sqlite:///` is understood as well."""

    pool_size: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Connections that each server process keeps. Unset: as many as `APP_SERVER__CONCURRENCY`."""

    max_overflow: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Connections beyond the pool that are opened under load and closed again."""

    pool_timeout: Annotated[float, Field(gt=0, le=300)] = 5.0
    """Seconds that a request waits for a free connection before it is answered with 503."""

    pool_recycle: Annotated[int, Field(ge=1)] = 1800
    """Seconds after which a connection is replaced by a new one."""

    pool_pre_ping: bool = False
    """Whether a connection is tried before it is used; a file needs no such trial."""

    lock_timeout: Annotated[float, Field(gt=0, le=3600)] = 5.0
    """Seconds that a writer waits for another one before the request gets a 503."""

    snapshot_timeout: Annotated[float, Field(gt=0, le=86_400)] = 600.0
    """Seconds that an export may take in all, however slowly its client reads."""

    slow_statement_ms: Annotated[int, Field(ge=0)] = 200
    """Milliseconds from which a statement is logged as slow: its text, never its values."""

    @field_validator("url")
    @classmethod
    def _names_a_file(cls, url: SecretStr) -> SecretStr:
        scheme, separator, rest = url.get_secret_value().strip().partition("://")
        if scheme not in {_SCHEME, "sqlite"} or not separator:
            message = f"must start with {_SCHEME}:///"
            raise ValueError(message)
        address = urlsplit(f"{_SCHEME}://{rest}")
        if address.netloc or address.path.strip("/") == "" or ":memory:" in address.path:
            # In memory, each connection of the pool would have a database of its own.
            message = (
                f"must name a file: {_SCHEME}:///./relative/path or {_SCHEME}:////absolute/path"
            )
            raise ValueError(message)
        if address.query or "\0" in unquote(address.path):
            message = "must be a path and nothing else: options after a `?` would have no effect"
            raise ValueError(message)
        return SecretStr(f"{_SCHEME}://{rest}")

    def weaknesses(self) -> Iterator[Fault]:
        """Yield why this address won't do in production."""
        if self.url.get_secret_value() == DEVELOPMENT_URL:
            sentence = (
                "names the development database; give the path of a file on a disk that lasts"
            )
            yield "url", sentence
