"""The tree of all settings."""

import sys
from typing import Literal, Self

from pydantic import model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from app.core.config.auth import AuthSettings
from app.core.config.base import UNFIT, Location, refusal
from app.core.config.database import DatabaseSettings
from app.core.config.example import env_example
from app.core.config.health import HealthSettings
from app.core.config.http import HttpSettings
from app.core.config.idempotency import IdempotencySettings
from app.core.config.jobs import JobSettings
from app.core.config.loading import load
from app.core.config.logging import LoggingSettings
from app.core.config.mail import MailSettings
from app.core.config.metrics import MetricsSettings
from app.core.config.passwords import PasswordSettings
from app.core.config.rate_limits import RateLimitSettings

# {%- if cookiecutter.use_websockets +%}
from app.core.config.realtime import RealtimeSettings

# {%- endif +%}
# {%- if cookiecutter.use_redis +%}
from app.core.config.redis import RedisSettings

# {%- endif +%}
from app.core.config.server import ServerSettings

# {%- if cookiecutter.use_s3 or cookiecutter.use_arq +%}
from app.core.config.storage import StorageSettings

# {%- endif +%}
from app.core.config.throttle import ThrottleSettings


class Settings(BaseSettings):
    """Everything that can be set.

    Made directly, it takes what it is given and the defaults, and nothing from its surroundings:
    only `load_settings` reads the environment. What production must not run with is refused in
    either case.
    """

    model_config = SettingsConfigDict(
        env_prefix="APP_",
        env_nested_delimiter="__",
        env_ignore_empty=True,
        enable_decoding=False,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    environment: Literal["development", "test", "production"] = "development"
    """Where the service runs. `production` refuses what is only good enough for the others."""

    server: ServerSettings = ServerSettings()
    http: HttpSettings = HttpSettings()
    database: DatabaseSettings = DatabaseSettings()
    auth: AuthSettings = AuthSettings()
    passwords: PasswordSettings = PasswordSettings()
    throttle: ThrottleSettings = ThrottleSettings()
    rate_limits: RateLimitSettings = RateLimitSettings()
    logging: LoggingSettings = LoggingSettings()
    mail: MailSettings = MailSettings()
    health: HealthSettings = HealthSettings()
    metrics: MetricsSettings = MetricsSettings()
    idempotency: IdempotencySettings = IdempotencySettings()
    # {% if cookiecutter.use_redis %}
    redis: RedisSettings = RedisSettings()
    # {% endif %}
    jobs: JobSettings = JobSettings()
    # {% if cookiecutter.use_websockets %}
    realtime: RealtimeSettings = RealtimeSettings()
    # {% endif %}
    # {% if cookiecutter.use_s3 or cookiecutter.use_arq %}
    storage: StorageSettings = StorageSettings()
    # {% endif %}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from the arguments only; see the class."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    @property
    def is_production(self) -> bool:
        """Whether real people's data are at stake."""
        return self.environment == "production"

    @property
    def docs_enabled(self) -> bool:
        """Whether the interactive documentation is served (rule APP08)."""
        if self.http.docs_enabled is None:
            return not self.is_production
        return self.http.docs_enabled

    @property
    def database_pool_size(self) -> int:
        """Number of connections in the pool of one server process."""
        return self.database.pool_size or self.server.concurrency

    @model_validator(mode="after")
    def _is_fit_for_production(self) -> Self:
        if self.is_production and (faults := self._faults_in_production()):
            raise refusal(type(self).__name__, faults, error_type=UNFIT)
        return self

    def _faults_in_production(self) -> dict[Location, str]:
        faults: dict[Location, str] = {}
        for group in type(self).model_fields:
            weaknesses = getattr(getattr(self, group), "weaknesses", tuple)
            faults |= {(group, name): sentence for name, sentence in weaknesses()}
        for name in ("cors_origins", "trusted_hosts", "forwarded_allow_ips"):
            if "*" in getattr(self.http, name):
                faults["http", name] = "can't be '*' in production; list what is meant"
        return faults


def load_settings() -> Settings:
    """Read the settings from the environment and, in development, from `.env`.

    Raises:
        ConfigurationError: Some are invalid; the error lists all of them.
    """
    return load(Settings)


if __name__ == "__main__":
    sys.stdout.write(env_example(Settings))
