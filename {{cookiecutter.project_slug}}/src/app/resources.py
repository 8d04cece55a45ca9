"""What the service stands on: opened together, closed in reverse order."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, fields, replace

from app.config import Settings
from app.core.health import HealthCheck
from app.core.ports import Events, Jobs
from app.core.security.keys import SigningKeys, load_signing_keys
from app.core.security.passwords import PasswordHasher
from app.core.security.tokens import AccessTokens
from app.domain.auth import TooManyLoginAttempts
from app.infrastructure.database import Database
from app.infrastructure.events import LoggedEvents
from app.infrastructure.jobs.queue import OpenJobs, open_jobs
from app.infrastructure.mail import build_mailer
from app.infrastructure.rate_limits import RateLimiter
from app.infrastructure.shared import SharedState

# {%- if cookiecutter.use_s3 or cookiecutter.use_arq +%}
from app.infrastructure.storage import Storage, open_storage

# {%- endif +%}
from app.infrastructure.throttle import Throttle

# {%- if cookiecutter.use_websockets +%}
from app.messages import open_events

# {%- endif +%}
from app.models.login_throttles import LoginThrottle

# {%- if cookiecutter.use_s3 +%}
from app.services.files import FileSweep

# {%- endif +%}
from app.services.maintenance import Maintenance


@dataclass(frozen=True, slots=True)
class Resources:
    """All that lives as long as the process, and reaches the code by dependency.

    Attributes:
        settings: The configuration.
        database: Units of work.
        keys: What access tokens are signed and verified with.
        tokens: Makes and checks access tokens.
        hasher: Hashes and checks passwords.
        state: What the processes of the service share.
        rate_limiter: Counts requests.
        queue: Where jobs go.
        jobs: Takes what is to be done after the answer.
        events: Tells others what has happened.
        health_checks: What `/ready` asks.
    """

    settings: Settings
    database: Database
    keys: SigningKeys
    tokens: AccessTokens
    hasher: PasswordHasher
    state: SharedState
    rate_limiter: RateLimiter
    queue: OpenJobs
    jobs: Jobs
    events: Events
    # {% if cookiecutter.use_s3 or cookiecutter.use_arq %}
    storage: Storage
    # {% endif %}
    health_checks: tuple[HealthCheck, ...]

    async def prune(self) -> dict[str, int]:
        """Delete expired rows and leftovers of files, and return their numbers."""
        throttle = Throttle(
            LoginThrottle, self.settings.throttle, TooManyLoginAttempts, scope="login"
        )
        rows = Maintenance(self.database, throttle, self.state.idempotency, self.settings.auth)
        return {
            **await rows.prune(),
            # {% if cookiecutter.use_s3 %}
            **await FileSweep(self.database, self.storage, self.settings.storage).prune(),
            # {% endif %}
        }


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open everything, and close it again in reverse order, whatever happens.

    Raises:
        ConfigurationError: There is no usable signing key.
    """
    keys = load_signing_keys(settings.auth, development=settings.environment == "development")
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            Database.open(settings.database, pool_size=settings.database_pool_size)
        )
        hasher = await stack.enter_async_context(PasswordHasher.open(settings.passwords))
        state = await stack.enter_async_context(SharedState.open(settings, database))
        queue = await stack.enter_async_context(open_jobs(settings, build_mailer(settings.mail)))
        events: Events = LoggedEvents()
        # {% if cookiecutter.use_websockets %}
        events = await stack.enter_async_context(open_events(settings, database, events))
        # {% endif %}
        resources = Resources(
            settings=settings,
            database=database,
            keys=keys,
            tokens=AccessTokens(keys, settings.auth),
            hasher=hasher,
            state=state,
            rate_limiter=RateLimiter(settings.rate_limits, state.rate_limits),
            queue=queue,
            jobs=queue.jobs,
            events=events,
            # {% if cookiecutter.use_s3 or cookiecutter.use_arq %}
            storage=await stack.enter_async_context(open_storage(settings.storage)),
            # {% endif %}
            health_checks=(),
        )
        yield replace(resources, health_checks=tuple(_checks_of(resources)))


def _checks_of(resources: Resources) -> Iterator[HealthCheck]:
    """Yield the checks that resources bring along, by an attribute of this name."""
    for field in fields(resources):
        yield from getattr(getattr(resources, field.name), "health_checks", ())
