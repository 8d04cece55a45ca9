"""Settings of Redis."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from app.core.config.base import SettingsGroup

KeyPrefix = Annotated[str, Field(pattern=r"^[^:*?\[\]\\]{1,64}$")]


def _check_scheme(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must start with redis://, rediss:// or unix://")
    return url


class RedisSettings(SettingsGroup):
    """Redis, its time limits and circuit breaker."""

    url: Annotated[SecretStr, AfterValidator(_check_scheme)] = SecretStr("redis://127.0.0.1:6379/0")
    """Address: `redis://`, `rediss://` for TLS, or `unix://` and the path of a socket, with user
    name and password if needed. Required in production."""

    prefix: KeyPrefix = "{{ cookiecutter.project_slug }}"
    """Prefix of all keys and channels, so that several services can share a server. No `:` or
    wildcards."""

    timeout: Annotated[float, Field(gt=0, le=10)] = 0.25
    """Seconds that one call may take. A request makes about three."""

    connect_timeout: Annotated[float, Field(gt=0, le=30)] = 1.0
    """Seconds that opening a connection may take."""

    pool_size: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Maximum connections of one server process. Unset: APP_SERVER__CONCURRENCY."""

    breaker_failures: Annotated[int, Field(ge=1, le=1000)] = 5
    """Consecutive failures that open the circuit breaker: requests then go on without Redis."""

    breaker_seconds: Annotated[float, Field(gt=0, le=300)] = 2.0
    """Seconds until a call probes Redis again."""

    def check(self, *, production: bool) -> Iterator[tuple[str, str]]:
        """Require an address in production, and time limits that agree."""
        if self.timeout > self.connect_timeout:
            yield "connect_timeout", "can't be less than APP_REDIS__TIMEOUT"
        if production and "url" not in self.model_fields_set:
            yield "url", "must be set in production"
