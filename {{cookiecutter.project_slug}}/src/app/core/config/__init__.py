"""Settings groups of the infrastructure.

`app.config.Settings` has a field for each of them. Variables are `APP_<GROUP>__<NAME>`:
`APP_SERVER__PORT` is `settings.server.port`. No other package reads the environment (rule APP03).
"""

from app.core.config.base import ConfigurationError, SettingsGroup
from app.core.config.database import DatabaseSettings
from app.core.config.groups import (
    AuthSettings,
    HealthSettings,
    HttpSettings,
    IdempotencySettings,
    LoggingSettings,
    MailSettings,
    MetricsSettings,
    PasswordSettings,
    RateLimitSettings,
    ServerSettings,
    ThrottleSettings,
)
from app.core.config.jobs import JobSettings

__all__ = [
    "AuthSettings",
    "ConfigurationError",
    "DatabaseSettings",
    "HealthSettings",
    "HttpSettings",
    "IdempotencySettings",
    "JobSettings",
    "LoggingSettings",
    "MailSettings",
    "MetricsSettings",
    "PasswordSettings",
    "RateLimitSettings",
    "ServerSettings",
    "SettingsGroup",
    "ThrottleSettings",
]
