"""What the service stands on: opened together, closed in reverse order."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from app.core.config import Settings
from app.core.security.keys import SigningKeys, load_signing_keys
from app.core.security.passwords import PasswordHasher
from app.core.security.tokens import AccessTokens
from app.infrastructure.database import Database
from app.infrastructure.jobs.inline import InlineJobs
from app.infrastructure.mail import build_mailer
from app.infrastructure.rate_limits import RateLimiter
from app.services.health import HealthCheck
from app.services.ports import Jobs


@dataclass(frozen=True, slots=True)
class Resources:
    """All that lives as long as the process, and reaches the code by dependency.

    Attributes:
        settings: The configuration.
        database: Units of work.
        keys: What access tokens are signed and verified with.
        tokens: Makes and checks access tokens.
        hasher: Hashes and checks passwords.
        rate_limiter: Counts requests.
        jobs: Takes what is to be done after the answer.
        health_checks: What `/ready` asks.
    """

    settings: Settings
    database: Database
    keys: SigningKeys
    tokens: AccessTokens
    hasher: PasswordHasher
    rate_limiter: RateLimiter
    jobs: Jobs
    health_checks: tuple[HealthCheck, ...]


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open everything, and close it again in reverse order, whatever happens.

    Raises:
        ConfigurationError: There is no usable signing key.
    """
    keys = load_signing_keys(settings)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database.open(settings))
        hasher = await stack.enter_async_context(PasswordHasher.open(settings.passwords))
        jobs = await stack.enter_async_context(InlineJobs.open(build_mailer(settings.mail)))
        yield Resources(
            settings=settings,
            database=database,
            keys=keys,
            tokens=AccessTokens(keys, settings.auth),
            hasher=hasher,
            rate_limiter=RateLimiter(settings.rate_limits),
            jobs=jobs,
            health_checks=(HealthCheck("database", database.ping, required=True),),
        )
