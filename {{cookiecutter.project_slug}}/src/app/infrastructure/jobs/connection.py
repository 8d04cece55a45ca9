"""How jobs reach Redis: arq's client, with our prefix and our time limits."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from arq.connections import ArqRedis
from redis.asyncio import ConnectionPool
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from app.core.config import Settings
from app.domain.tracking import QueueUnavailable
from app.infrastructure.jobs import payloads

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


class JobRedis(ArqRedis):
    """arq's client for a Redis that others use, too.

    arq has its key names as constants. Here each argument that begins with `arq:` gets the prefix
    of the service in front; ids are UUIDs and contents are JSON, so that nothing else does.
    """

    def __init__(self, pool: ConnectionPool, prefix: str) -> None:
        """Talk over this pool; whoever made it closes it."""
        super().__init__(
            pool, job_serializer=payloads.serialize, job_deserializer=payloads.deserialize
        )
        self._prefix = f"{prefix}:"

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
async def open_job_redis(settings: Settings) -> AsyncIterator[JobRedis]:
    """Yield a client that connects when it is first used, and close it afterwards."""
    pool = ConnectionPool.from_url(
        settings.redis.url.get_secret_value(),
        socket_timeout=settings.jobs.command_seconds,
        socket_connect_timeout=settings.jobs.command_seconds,
        # After a restart of Redis, the first command on each connection finds it closed.
        retry=Retry(NoBackoff(), 1),
        retry_on_error=[RedisConnectionError],
    )
    try:
        yield JobRedis(pool, settings.redis.prefix)
    finally:
        await pool.aclose()


@contextmanager
def translated_errors() -> Iterator[None]:
    """Say in our words that Redis does not answer.

    Raises:
        QueueUnavailable: It doesn't.
    """
    try:
        yield
    except (RedisError, OSError) as error:
        raise QueueUnavailable(reason=type(error).__name__) from error


def _prefixed(prefix: str, args: tuple[Any, ...]) -> Iterator[Any]:
    for each in args:
        yield prefix + each if isinstance(each, str) and each.startswith(ARQ) else each
