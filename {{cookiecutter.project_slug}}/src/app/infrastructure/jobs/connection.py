"""arq's Redis client with a key prefix and time limits."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any, Final, TypeVar

from arq.connections import ArqRedis
from redis.asyncio import ConnectionPool
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from app.core.config import JobSettings
from app.core.config.redis import RedisSettings
from app.core.jobs import QueueUnavailable
from app.infrastructure.jobs import payloads
from app.infrastructure.redis import Breaker, RedisUnavailable

T = TypeVar("T")
_ARQ: Final = "arq:"
"""Prefix of the keys, both arq's and ours."""


class JobPipeline(Pipeline):
    """A pipeline that adds the prefix to keys."""

    def __init__(self, prefix: str, *args: Any) -> None:
        super().__init__(*args)
        self._prefix = prefix

    def execute_command(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as its parent
        """Send a command now while keys are watched, else with the others."""
        return super().execute_command(*_prefixed(self._prefix, args), **options)

    def multi(self) -> None:
        """Start a transaction."""
        super().multi()  # type: ignore[no-untyped-call]

    async def reset(self) -> None:
        """Return the connection to the pool."""
        if self.connection is not None and not self.connection.is_connected:
            # A closed connection watches nothing; don't wait for a new one to unwatch.
            self.watching = False
        await super().reset()  # type: ignore[no-untyped-call]


class JobRedis(ArqRedis):
    """arq's client for a Redis that is shared.

    arq's key names are constants. Each argument that begins with `arq:` gets the service's prefix;
    ids are UUIDs and contents are JSON, so nothing else does.
    """

    def __init__(
        self, pool: ConnectionPool, prefix: str, seconds: float, breaker: Breaker | None
    ) -> None:
        """Use this pool, which the caller closes; time limit and breaker are for `in_time`."""
        super().__init__(
            pool, job_serializer=payloads.serialize, job_deserializer=payloads.deserialize
        )
        self._prefix = f"{prefix}:"
        self._seconds = seconds
        self._breaker = breaker

    async def execute_command(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as its parent
        """Send a command."""
        sent = super().execute_command(*_prefixed(self._prefix, args), **options)  # type: ignore[no-untyped-call]
        return await sent

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> JobPipeline:
        """Return a pipeline."""
        return JobPipeline(
            self._prefix, self.connection_pool, self.response_callbacks, transaction, shard_hint
        )

    @asynccontextmanager
    async def in_time(self) -> AsyncIterator[None]:
        """Limit the time of the block, and translate its errors.

        Raises:
            QueueUnavailable: Redis did not answer in time, or the circuit is open.
        """
        try:
            with self._breaker.guard() if self._breaker else nullcontext():
                async with asyncio.timeout(self._seconds):
                    yield
        except RedisUnavailable as error:
            raise QueueUnavailable(reason=error.context["cause"]) from error
        except (RedisError, OSError) as error:
            raise QueueUnavailable(reason=type(error).__name__) from error

    async def change(self, write: Callable[[JobPipeline], Awaitable[T]], *watched: str) -> T:
        """Run a transaction, again if a watched key changes meanwhile, and return its result.

        `write` reads, then calls `multi` and queues commands; without, it changes nothing.
        """
        async with self.in_time():
            result: T = await self.transaction(write, *watched, value_from_callable=True)  # type: ignore[arg-type]
        return result


@asynccontextmanager
async def open_job_redis(
    redis: RedisSettings, jobs: JobSettings, *, guarded: bool = False
) -> AsyncIterator[JobRedis]:
    """Yield a client that connects on first use, and close it afterwards.

    Args:
        redis: Address and prefix.
        jobs: Time limit of commands.
        guarded: Whether a circuit breaker keeps requests from waiting. Workers have none: they wait
            for Redis, and renew their leases as soon as it is back.
    """
    pool = ConnectionPool.from_url(
        redis.url.get_secret_value(),
        socket_timeout=jobs.command_seconds,
        socket_connect_timeout=jobs.command_seconds,
        # After a restart of Redis, the first command finds each connection closed. A command that
        # timed out is not retried: its caller has waited long enough.
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        retry_on_error=[RedisConnectionError],
    )
    breaker = Breaker(redis.breaker_failures, redis.breaker_seconds) if guarded else None
    try:
        yield JobRedis(pool, redis.prefix, jobs.command_seconds, breaker)
    finally:
        await pool.aclose()


def _prefixed(prefix: str, args: tuple[Any, ...]) -> Iterator[Any]:
    for each in args:
        yield prefix + each if isinstance(each, str) and each.startswith(_ARQ) else each
