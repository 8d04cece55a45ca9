"""Resources that live as long as the process."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import app.models  # noqa: F401 - statements find tables by name
from app.config import Settings
from app.core.ports import Cache, Events, HealthCheck, Job, Mailer
from app.core.security.keys import SigningKeys, load_signing_keys
from app.core.security.passwords import PasswordHasher
from app.core.security.tokens import AccessTokens
from app.infrastructure.database import Database
from app.infrastructure.events import LoggedEvents
from app.infrastructure.limits import ConcurrencyLimiter, RateLimiter
from app.infrastructure.mail import build_mailer
from app.infrastructure.metrics import Measure

# {%- if cookiecutter.use_redis +%}
from app.infrastructure.redis import GuardedRedis
from app.infrastructure.redis.cache import RedisCache
from app.infrastructure.redis.limits import RedisRateLimiter

# {%- endif +%}
# {%- if cookiecutter.use_s3 or cookiecutter.use_arq +%}
from app.infrastructure.storage import open_storage

# {%- endif +%}
# {%- if cookiecutter.use_websockets +%}
from app.messages import MESSAGES, open_hub

# {%- endif +%}
from app.resources.jobs import JobResources

Tasks = Mapping[type[Job], Callable[[Any, "Resources"], Awaitable[None]]]
"""The task of each kind of job."""


class Resources(JobResources):
    """Resources of a process, for dependencies and tasks."""

    settings: Settings
    keys: SigningKeys
    tokens: AccessTokens
    hasher: PasswordHasher
    mailer: Mailer
    database: Database
    rate_limiter: RateLimiter
    request_limiter: ConcurrencyLimiter
    transfer_limiter: ConcurrencyLimiter
    cache: Cache
    events: Events
    health_checks: tuple[HealthCheck, ...]
    measures: tuple[Measure, ...]

    def __init__(self, settings: Settings, tasks: Tasks) -> None:
        self.settings = settings
        self.tasks = tasks

    async def run(self, job: Job) -> None:
        """Run a job.

        Raises:
            KeyError: No task of its kind is registered.
        """
        await self.tasks[type(job)](job, self)

    async def open(self, stack: AsyncExitStack) -> None:
        """Open everything; the stack closes it in reverse order."""
        settings, opened = self.settings, stack.enter_async_context
        development = settings.environment == "development"
        self.keys = load_signing_keys(settings.auth, development=development)
        self.tokens = AccessTokens(self.keys, settings.auth)
        self.mailer = build_mailer(settings.mail, development=development)
        self.database = await opened(
            Database.open(settings.database, pool_size=settings.database_pool_size)
        )
        self.hasher = await opened(PasswordHasher.open(settings.passwords))
        self.request_limiter = ConcurrencyLimiter(settings.concurrent_requests)
        self.transfer_limiter = ConcurrencyLimiter(settings.rate_limits.concurrent_transfers)
        checks = [
            HealthCheck("database", self.database.ping, required=True),
            HealthCheck("database_writes", self.database.try_write, required=False),
        ]
        measures = [self.database.measure, self.hasher.measure]
        # {% if cookiecutter.use_redis %}
        redis = await opened(
            GuardedRedis.open(settings.redis, connections=settings.server.concurrency)
        )
        checks.append(HealthCheck("redis", redis.ping, required=False))
        measures.append(redis.measure)
        prefix = settings.redis.prefix
        self.rate_limiter = RedisRateLimiter(settings.rate_limits, redis, prefix)
        self.cache = RedisCache(redis, prefix)
        # {% else %}
        self.rate_limiter = RateLimiter(settings.rate_limits)
        self.cache = Cache()
        # {% endif %}
        # {% if cookiecutter.use_s3 or cookiecutter.use_arq %}
        self.storage = await opened(open_storage(settings.storage))
        checks.append(HealthCheck("storage", self.storage.ping, required=False))
        # {% endif %}
        self.events = LoggedEvents()
        # {% if cookiecutter.use_websockets %}
        self.hub = await opened(open_hub(settings, self.database))
        self.events = MESSAGES.announcing(self.events, self.hub)
        measures.append(self.hub.measure)
        # {% endif %}
        kinds = {kind.__name__: kind for kind in self.tasks}
        checks += await self.open_jobs(stack, settings, self.database, kinds, self.run)
        self.health_checks = tuple(checks)
        self.measures = (*measures, self.rate_limiter.measure)


@asynccontextmanager
async def open_resources(settings: Settings, tasks: Tasks) -> AsyncIterator[Resources]:
    """Yield the resources, and close them afterwards.

    Raises:
        ConfigurationError: There is no usable signing key.
    """
    async with AsyncExitStack() as stack:
        resources = Resources(settings, tasks)
        await resources.open(stack)
        yield resources
