"""All configuration, as one tree of settings (rule APP03).

Variables have the prefix `APP_`, and a group and its setting are joined by two underscores:
`APP_SERVER__PORT` is `settings.server.port`. No other package reads the environment.
"""

from app.core.config.auth import AuthSettings
from app.core.config.database import DatabaseSettings
from app.core.config.health import HealthSettings
from app.core.config.http import HttpSettings
from app.core.config.idempotency import IdempotencySettings
from app.core.config.jobs import JobSettings
from app.core.config.loading import ConfigurationError, variable_names
from app.core.config.logging import LoggingSettings
from app.core.config.mail import MailSettings
from app.core.config.metrics import MetricsSettings
from app.core.config.passwords import PasswordSettings
from app.core.config.rate_limits import RateLimitSettings
from app.core.config.server import ServerSettings
from app.core.config.throttle import ThrottleSettings

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
    "ThrottleSettings",
    "variable_names",
]
