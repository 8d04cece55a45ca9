"""Settings of Redis."""

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from app.core.config.base import Fault, SettingsGroup, refusal

_SCHEMES = ("redis://", "rediss://", "unix://")

Prefix = Annotated[str, Field(pattern=r"^[^:*?\[\]\\]{1,64}$")]
"""A name without what separates the parts of a key, or stands for any text in a pattern."""


class RedisSettings(SettingsGroup):
    """Where Redis is, how long it is waited for, and how long it is left alone when it is away."""

    url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    """Address: `redis://`, `rediss://` for TLS, or `unix://` and the path of a socket. May hold a
    name and a password. Production needs one."""

    prefix: Prefix = "{{ cookiecutter.project_slug }}"
    """What all keys and channels start with, so that several services can share a server."""

    timeout: Annotated[float, Field(gt=0, le=10)] = 0.25
    """Seconds that one call may take. A request makes about three."""

    connect_timeout: Annotated[float, Field(gt=0, le=30)] = 1.0
    """Seconds that a new connection may take."""

    pool_size: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Most connections of one server process. Unset: APP_SERVER__CONCURRENCY."""

    breaker_failures: Annotated[int, Field(ge=1, le=1000)] = 5
    """Failed calls in a row after which Redis is left alone for a while: requests then go on
    without it, and do not wait."""

    breaker_seconds: Annotated[float, Field(gt=0, le=300)] = 2.0
    """Seconds that it is left alone; then one call tries."""

    principal_seconds: Annotated[int, Field(ge=1, le=3600)] = 60
    """Seconds that it is remembered who stands behind a token. Changes and revocations count at
    once in any case; this bounds how long one may go unnoticed whose process was killed, or cut off
    from Redis, right after its commit."""

    @field_validator("url")
    @classmethod
    def _has_a_scheme(cls, url: SecretStr) -> SecretStr:
        if not url.get_secret_value().startswith(_SCHEMES):
            message = f"must start with one of {', '.join(_SCHEMES)}"
            raise ValueError(message)
        return url

    @model_validator(mode="after")
    def _waits_in_proportion(self) -> Self:
        if self.timeout > self.connect_timeout:
            sentence = "can't be less than APP_REDIS__TIMEOUT"
            raise refusal(type(self).__name__, {("connect_timeout",): sentence})
        return self

    def weaknesses(self) -> Iterator[Fault]:
        """Yield why this address won't do in production."""
        if "url" not in self.model_fields_set:
            yield "url", "must be set in production; what is unset is the address of development"
