"""Settings of the database: PostgreSQL."""

import re
from collections.abc import Iterator
from typing import Annotated, Final
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import Field, SecretStr, field_validator

from app.core.config.base import SettingsGroup, network_of_host

DEVELOPMENT_URL: Final = "postgresql+asyncpg://app:app@localhost:5432/app"
_SCHEME: Final = "postgresql+asyncpg"
# Options after the `?` of the address; the driver fails on any other.
_NUMBERS: Final = frozenset({"port", "prepared_statement_cache_size"})
_WORDS: Final = frozenset(
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
_TLS: Final = frozenset({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"})
_REQUIRED_TLS: Final = frozenset({"require", "verify-ca", "verify-full"})
_GUESSABLE: Final = frozenset(
    {"app", "postgres", "password", "changeme", "change-me", "secret", "admin"}
)


class DatabaseSettings(SettingsGroup):
    """Database, its connections and time limits."""

    url: SecretStr = SecretStr(DEVELOPMENT_URL)
    """Address of the database: `postgresql+asyncpg://user:password@host:5432/name`. `postgres://`
    and `postgresql://` are accepted as well."""

    pool_size: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Connections in the pool of each server process. Unset: `APP_SERVER__CONCURRENCY`."""

    max_overflow: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Connections beyond the pool, opened under load and closed again."""

    pool_timeout: Annotated[float, Field(gt=0, le=300)] = 5.0
    """Seconds that a request waits for a connection before it is answered with 503."""

    pool_recycle: Annotated[int, Field(ge=1)] = 1800
    """Maximum age of a connection, in seconds."""

    pool_pre_ping: bool = True
    """Test connections before use, so that a restart of the database goes unnoticed."""

    connect_timeout: Annotated[float, Field(gt=0, le=300)] = 5.0
    """Seconds that opening a connection may take."""

    statement_timeout: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """Seconds after which the database cancels a statement."""

    lock_timeout: Annotated[float, Field(gt=0, le=300)] = 5.0
    """Seconds that a writer waits for a lock before the request is answered with 503."""

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
        if scheme not in {_SCHEME, "postgresql", "postgres"} or not separator:
            raise ValueError(f"must start with {_SCHEME}://")
        # asyncpg's name for `sslmode`, which libpq and all platforms use, is `ssl`.
        rest = re.sub(r"(?<=[?&])sslmode=", "ssl=", rest)
        form = f"must have the form {_SCHEME}://user:password@host:port/name"
        try:
            address = urlsplit(f"{_SCHEME}://{rest}")
            is_complete = address.path.strip("/") != "" and address.port != 0
        except ValueError:
            raise ValueError(form) from None
        if not is_complete:
            raise ValueError(form)
        options = parse_qs(address.query, keep_blank_values=True)
        if unknown := sorted(options.keys() - _WORDS - _NUMBERS):
            raise ValueError(f"has options that the driver does not support: {', '.join(unknown)}")
        for name in sorted(options.keys() & _NUMBERS):
            if not all(value.isdecimal() for value in options[name]):
                raise ValueError(f"{name} must be a number")
        # The driver would use the number modulo 65,536.
        if any(int(port) not in range(1, 65_536) for port in options.get("port", ())):
            raise ValueError("port must be a number from 1 to 65535")
        if not _TLS.issuperset(options.get("ssl", ())):
            raise ValueError(f"sslmode must be one of {', '.join(sorted(_TLS))}")
        return SecretStr(f"{_SCHEME}://{rest}")

    def check(self, *, production: bool) -> Iterator[tuple[str, str]]:
        """Refuse guessable passwords and unsafe public addresses in production."""
        if not production:
            return
        address = urlsplit(self.url.get_secret_value())
        options = parse_qs(address.query)
        password = options.get("password", [unquote(address.password or "")])[-1]
        if password.lower() in _GUESSABLE:
            yield "url", "has a guessable password; give the database user one of its own"
        elif "public" in self._networks:
            if not self._requires_tls:
                yield "url", "must have sslmode=verify-full or require: the host is public"
            elif not password and options.keys().isdisjoint({"passfile", "service"}):
                yield "url", "must have a password: the host is public"

    def risks(self) -> Iterator[tuple[str, str]]:
        """Warn about traffic that may be unencrypted."""
        if "private" in self._networks and not self._requires_tls:
            yield "url", "does not require TLS: statements and data may be sent unencrypted"

    def open_files(self, concurrency: int) -> int:
        """Return the size of the pool with its overflow."""
        return (self.pool_size or concurrency) + self.max_overflow

    @property
    def _networks(self) -> set[str]:
        address = urlsplit(self.url.get_secret_value())
        hosts = ",".join(parse_qs(address.query).get("host", [address.hostname or ""]))
        # Several hosts, each with its port.
        return {network_of_host(re.sub(r"(?<!:):\d+$", "", host)) for host in hosts.split(",")}

    @property
    def _requires_tls(self) -> bool:
        options = parse_qs(urlsplit(self.url.get_secret_value()).query)
        return not _REQUIRED_TLS.isdisjoint(options.get("ssl", ())[-1:])
