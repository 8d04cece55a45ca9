"""Settings of the database: PostgreSQL."""

import re
from collections.abc import Iterator
from typing import Annotated
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import Field, SecretStr, field_validator

from app.core.config.base import Fault, SettingsGroup

DEVELOPMENT_URL = "postgresql+asyncpg://app:app@localhost:5432/app"
_SCHEME = "postgresql+asyncpg"
_ALIASES = ("postgresql", "postgres")
# What an address may say after its `?`: the driver ends at any other name.
_NUMBERS = frozenset({"port", "prepared_statement_cache_size"})
_WORDS = frozenset(
    {
        "database",
        "gsslib",
        "host",
        "krbsrvname",
        "passfile",
        "password",
        "service",
        "servicefile",
        "ssl",
        "target_session_attrs",
        "user",
    }
)
_TLS = frozenset({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"})
_GUESSABLE = frozenset({"app", "postgres", "password", "changeme", "change-me", "secret", "admin"})


class DatabaseSettings(SettingsGroup):
    """How the database is reached, and how many connections it gives us."""

    url: SecretStr = SecretStr(DEVELOPMENT_URL)
    """Address of the database: `postgresql+asyncpg://user:password@host:5432/name`. The schemes
    `postgres://` and `postgresql://`, which platforms hand out, are understood as well."""

    pool_size: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Connections that each server process keeps. Unset: as many as `APP_SERVER__CONCURRENCY`."""

    max_overflow: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Connections beyond the pool that are opened under load and closed again."""

    pool_timeout: Annotated[float, Field(gt=0, le=300)] = 5.0
    """Seconds that a request waits for a free connection before it is answered with 503."""

    pool_recycle: Annotated[int, Field(ge=1)] = 1800
    """Seconds after which a connection is replaced by a new one."""

    pool_pre_ping: bool = True
    """Whether a connection is tried before use, so that a restart of the database goes unseen."""

    connect_timeout: Annotated[float, Field(gt=0, le=300)] = 5.0
    """Seconds that opening a connection may take."""

    statement_timeout: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """Seconds that one statement may take before the database ends it."""

    lock_timeout: Annotated[float, Field(gt=0, le=300)] = 5.0
    """Seconds that a writer waits for another to finish before it is answered with 503."""

    snapshot_timeout: Annotated[float, Field(gt=0, le=86_400)] = 600.0
    """Seconds that an export may take in all, however slowly its client reads."""

    slow_statement_ms: Annotated[int, Field(ge=0)] = 200
    """Milliseconds from which a statement is logged as slow: its text, never its values."""

    @field_validator("url")
    @classmethod
    def _names_our_driver(cls, url: SecretStr) -> SecretStr:
        scheme, separator, rest = url.get_secret_value().strip().partition("://")
        if scheme not in {_SCHEME, *_ALIASES} or not separator:
            message = f"must start with {_SCHEME}://"
            raise ValueError(message)
        # asyncpg takes as `ssl` what libpq, and so every platform, calls `sslmode`.
        rest = re.sub(r"(?<=[?&])sslmode=", "ssl=", rest)
        if not _names_a_database(rest):
            message = f"must have the form {_SCHEME}://user:password@host:port/name"
            raise ValueError(message)
        return SecretStr(f"{_SCHEME}://{rest}")

    @field_validator("url")
    @classmethod
    def _has_options_of_our_driver(cls, url: SecretStr) -> SecretStr:
        options = parse_qs(urlsplit(url.get_secret_value()).query, keep_blank_values=True)
        if unknown := sorted(options.keys() - _WORDS - _NUMBERS):
            message = f"has options that the driver does not have: {', '.join(unknown)}"
            raise ValueError(message)
        for name in sorted(options.keys() & _NUMBERS):
            if not all(value.isdecimal() for value in options[name]):
                message = f"has a {name} that is no number"
                raise ValueError(message)
        if not _TLS.issuperset(options.get("ssl", ())):
            message = f"has an sslmode that is none of {', '.join(sorted(_TLS))}"
            raise ValueError(message)
        return url

    def weaknesses(self) -> Iterator[Fault]:
        """Yield why this address won't do in production."""
        password = urlsplit(self.url.get_secret_value()).password
        if password is not None and unquote(password).lower() in _GUESSABLE:
            yield (
                "url",
                "has a password that everybody knows; give the database user one of its own",
            )


def _names_a_database(rest: str) -> bool:
    try:
        address = urlsplit(f"{_SCHEME}://{rest}")
        return address.path.strip("/") != "" and address.port != 0
    except ValueError:
        return False
