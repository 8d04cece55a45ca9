"""What the processes of the service share: counters, and which requests were sent twice."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from limits.aio.storage import Storage

from app.config import Settings
from app.core.health import HealthCheck
from app.infrastructure.database import Database
from app.infrastructure.outbox import Outbox
from app.infrastructure.redis.breaker import RedisUnavailable
from app.infrastructure.redis.client import GuardedRedis
from app.infrastructure.redis.idempotency import RedisIdempotency
from app.infrastructure.redis.rate_limits import SharedCounters
from app.services.ports import IdempotencyStore


@dataclass(frozen=True, slots=True)
class SharedState:
    """What all processes share.

    Attributes:
        rate_limits: Counts requests.
        idempotency: Knows which requests were sent before.
        health_checks: What `/ready` asks of it.
    """

    rate_limits: Storage
    idempotency: IdempotencyStore
    health_checks: tuple[HealthCheck, ...]

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings, database: Database) -> AsyncIterator["SharedState"]:
        """Yield what is shared, and close it afterwards; Redis is asked when it is first needed.

        Args:
            settings: Where Redis is, and how long things are remembered.
            database: Not needed where there is Redis.
        """
        del database
        ours = settings.redis
        async with (
            GuardedRedis.open(ours, connections=settings.server.concurrency) as redis,
            Outbox.open("redis", RedisUnavailable, retry_seconds=ours.breaker_seconds) as outbox,
        ):
            yield cls(
                rate_limits=SharedCounters(redis, ours.prefix),
                idempotency=RedisIdempotency(
                    redis,
                    outbox,
                    prefix=ours.prefix,
                    answer_seconds=settings.idempotency.answer_seconds,
                    claim_seconds=settings.idempotency.claim_seconds,
                ),
                health_checks=(HealthCheck("redis", redis.ping, required=False),),
            )
