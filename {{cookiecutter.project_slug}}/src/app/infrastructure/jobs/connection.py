"""How jobs reach Redis: arq's client, with our prefix and our time limits."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any, Final

from arq.connections import ArqRedis
from redis.asyncio import ConnectionPool
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from app.config import Settings
from app.domain.tracking import QueueUnavailable
from app.infrastructure.jobs import payloads
from app.infrastructure.redis.breaker import Breaker, RedisUnavailable

ARQ: Final = "arq:"
"""What the names of arq's own keys begin with, and of those that we keep beside them."""


class JobPipeline(Pipeline):
    """Several commands at once, with the prefix in front of the names of keys."""

    def __init__(self, prefix: str, *args: Any) -> None:
        super().__init__(*args)
        self._prefix = prefix

    def execute_command(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as its parent
        """Send a command now while keys are watched, else with the others."""
        return super().execute_command(*_prefixed(self._prefix, args), **options)

    def multi(self) -> None:
        """Collect commands from here on, to be executed together or not at all."""
        super().multi()  # type: ignore[no-untyped-call]

    async def reset(self) -> None:
        """Give the connection back."""
        if self.connection is not None and not self.connection.is_connected:
            # Over one that is closed nothing is watched; a new one must not be waited for.
            self.watching = False
        await super().reset()  # type: ignore[no-untyped-call]


class JobRedis(ArqRedis):
    """arq's client for a Redis that others use, too.

    arq has its key names as constants. Here each argument that begins with `arq:` gets the prefix
    of the service in front; ids are UUIDs and contents are JSON, so that nothing else does.
    """

    def __init__(
        self, pool: ConnectionPool, prefix: str, seconds: float, breaker: Breaker | None
    ) -> None:
        """Talk over this pool; whoever made it closes it.

        Args:
            pool: Connections.
            prefix: What stands in front of all names of keys.
            seconds: How long what is done `in_time` may take.
            breaker: What keeps its callers from waiting, if they should not.
        """
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
        """Return what sends several commands at once."""
        return JobPipeline(
            self._prefix, self.connection_pool, self.response_callbacks, transaction, shard_hint
        )

    @asynccontextmanager
    async def in_time(self) -> AsyncIterator[None]:
        """Give what the block does one time limit for all of it, and its errors a name of ours.

        Raises:
            QueueUnavailable: Redis does not answer, or is not asked because it did not before.
        """
        try:
            with self._breaker.watching() if self._breaker else nullcontext():
                async with asyncio.timeout(self._seconds):
                    yield
        except RedisUnavailable as error:
            raise QueueUnavailable(reason=error.context["cause"]) from error
        except (RedisError, OSError) as error:
            raise QueueUnavailable(reason=type(error).__name__) from error


@asynccontextmanager
async def open_job_redis(
    settings: Settings, breaker: Breaker | None = None
) -> AsyncIterator[JobRedis]:
    """Yield a client that connects when it is first used, and close it afterwards.

    Args:
        settings: Where Redis is, and how long it may take.
        breaker: What keeps requests from waiting for a Redis that is away. Workers have none: they
            wait for it, and a lease that is renewed a moment too late is lost.
    """
    seconds = settings.jobs.command_seconds
    pool = ConnectionPool.from_url(
        settings.redis.url.get_secret_value(),
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        # After a restart of Redis, the first command on each connection finds it closed. One that
        # took too long is not tried again: who asked has waited long enough.
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        retry_on_error=[RedisConnectionError],
    )
    try:
        yield JobRedis(pool, settings.redis.prefix, seconds, breaker)
    finally:
        await pool.aclose()


def _prefixed(prefix: str, args: tuple[Any, ...]) -> Iterator[Any]:
    for each in args:
        yield prefix + each if isinstance(each, str) and each.startswith(ARQ) else each
