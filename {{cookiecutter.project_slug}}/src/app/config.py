"""Settings of the service.

To add a setting, add a field to a group; to add a group, declare it and give it a field of
`Settings`. `uv run python -m app.config > .env.example` updates the documentation.
"""

import sys
from typing import Annotated, Final

from pydantic import Field

from app.core import config as groups
from app.core.config.base import ServiceSettings, SettingsGroup, env_example, load

# {%- if cookiecutter.use_websockets +%}
from app.core.config.realtime import RealtimeSettings

# {%- endif +%}
# {%- if cookiecutter.use_redis +%}
from app.core.config.redis import RedisSettings

# {%- endif +%}
# {%- if cookiecutter.use_s3 or cookiecutter.use_arq +%}
from app.core.config.storage import StorageSettings

# {%- endif +%}

DEVELOPMENT_ORIGINS: Final = ["http://localhost:3000", "http://localhost:5173"]


class QuotaSettings(SettingsGroup):
    """Resources that one account may have. Concurrent requests may exceed it by their number."""

    api_keys: Annotated[int, Field(ge=1, le=10_000)] = 100
    """API keys; further ones are refused until one is revoked."""

    sessions: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Sessions; a further login ends the least recently used one."""

    items: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """Items; further ones are refused until one is deleted."""


class Settings(ServiceSettings):
    """All settings, by group."""

    server: groups.ServerSettings = groups.ServerSettings()
    http: groups.HttpSettings = groups.HttpSettings()
    database: groups.DatabaseSettings = groups.DatabaseSettings()
    auth: groups.AuthSettings = groups.AuthSettings()
    passwords: groups.PasswordSettings = groups.PasswordSettings()
    throttle: groups.ThrottleSettings = groups.ThrottleSettings()
    rate_limits: groups.RateLimitSettings = groups.RateLimitSettings()
    logging: groups.LoggingSettings = groups.LoggingSettings()
    mail: groups.MailSettings = groups.MailSettings()
    health: groups.HealthSettings = groups.HealthSettings()
    metrics: groups.MetricsSettings = groups.MetricsSettings()
    idempotency: groups.IdempotencySettings = groups.IdempotencySettings()
    quotas: QuotaSettings = QuotaSettings()
    # {% if cookiecutter.use_redis %}
    redis: RedisSettings = RedisSettings()
    # {% endif %}
    jobs: groups.JobSettings = groups.JobSettings()
    # {% if cookiecutter.use_websockets %}
    realtime: RealtimeSettings = RealtimeSettings()
    # {% endif %}
    # {% if cookiecutter.use_s3 or cookiecutter.use_arq %}
    storage: StorageSettings = StorageSettings()
    # {% endif %}

    @property
    def docs_enabled(self) -> bool:
        """Whether the interactive documentation is served (rule APP08)."""
        if self.http.docs_enabled is None:
            return not self.is_production
        return self.http.docs_enabled

    @property
    def cors_origins(self) -> list[str]:
        """Origins whose pages may call the service (rule APP09)."""
        if self.http.cors_origins is None and self.environment == "development":
            return DEVELOPMENT_ORIGINS
        return self.http.cors_origins or []

    @property
    def risks(self) -> dict[str, str]:
        """Settings and limits that are risky in production, with the reason."""
        if not self.is_production:
            return {}
        from resource import RLIMIT_NOFILE, getrlimit  # noqa: PLC0415 - not on Windows

        found = super().risks
        if self.concurrent_requests >= self.database_pool_size:
            found["APP_RATE_LIMITS__CONCURRENT_REQUESTS"] = (
                "lets one account take all database connections of a process"
            )
        needed = sum(group.open_files(self.server.concurrency) for group in self.groups.values())
        limit, _ = getrlimit(RLIMIT_NOFILE)
        if limit < needed:
            found["RLIMIT_NOFILE"] = f"is {limit}; a process may open {needed} files and sockets"
        return found

    @property
    def database_pool_size(self) -> int:
        """Number of connections in the pool of one server process."""
        return self.database.pool_size or self.server.concurrency

    @property
    def concurrent_requests(self) -> int:
        """Number of requests of an account that a server process handles at once."""
        return self.rate_limits.concurrent_requests or max(1, self.database_pool_size // 2)


def load_settings() -> Settings:
    """Read the settings from the environment and, in development, from `.env`."""
    return load(Settings)


if __name__ == "__main__":
    sys.stdout.write(env_example(Settings))
