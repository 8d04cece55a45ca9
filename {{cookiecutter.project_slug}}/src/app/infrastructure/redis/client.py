"""A Redis client with time limits and a circuit breaker."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError

from app.core.config.redis import RedisSettings
from app.core.ports import Measurement
from app.infrastructure.redis.breaker import Breaker

Word = str | bytes | int
"""A word of a command."""

_CONNECTIONS: Final = 32
_HEALTH_CHECK_SECONDS: Final = 30
_PROBE_MS: Final = 1000


@asynccontextmanager
async def open_redis(
    settings: RedisSettings, *, connections: int | None = None
) -> AsyncIterator["Redis"]:
    """Yield a client that connects on first use, and close it afterwards.

    Its commands have no time limit, since some block on purpose: use `asyncio.timeout`, or a
    `GuardedRedis`.

    Args:
        settings: Address and limits.
        connections: Size of the pool, unless the settings have one.
    """
    url = settings.url.get_secret_value()
    options: dict[str, Any] = {
        "max_connections": settings.pool_size or connections or _CONNECTIONS,
        "protocol": 2,
        "socket_timeout": None,
        "socket_connect_timeout": settings.connect_timeout,
        # Detects connections that the other side has dropped silently.
        "health_check_interval": _HEALTH_CHECK_SECONDS,
        # Callers handle failures, and the breaker counts them.
        "retry": Retry(NoBackoff(), 0),
    }
    if not url.startswith("unix:"):
        options["socket_keepalive"] = True
    pool = ConnectionPool.from_url(url, **options)
    client = Redis(connection_pool=pool)
    try:
        yield client
    finally:
        await client.aclose()
        await pool.disconnect()


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script, which Redis runs atomically."""

    text: str
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        # The protocol demands SHA-1; nothing depends on its strength.
        digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "digest", digest)


class GuardedRedis:
    """Sends commands within a time limit and behind a circuit breaker.

    It takes connections from the pool itself: connecting and the command have separate limits, and
    a call costs a third less than by the client's own methods.
    """

    def __init__(
        self, client: "Redis", settings: RedisSettings, breaker: Breaker | None = None
    ) -> None:
        # Its types differ between the versions of the library.
        self._pool: Any = client.connection_pool
        self._free = asyncio.Semaphore(client.connection_pool.max_connections)
        self._probe = f"{settings.prefix}:probe"
        self._timeout = settings.timeout
        self._connect_timeout = settings.connect_timeout
        self._breaker = breaker or Breaker(settings.breaker_failures, settings.breaker_seconds)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, settings: RedisSettings, *, connections: int | None = None
    ) -> AsyncIterator["GuardedRedis"]:
        """Yield a client with a pool of its own, and close it afterwards."""
        async with open_redis(settings, connections=connections) as client:
            yield cls(client, settings)

    async def command(self, *words: Word) -> Any:  # noqa: ANN401 - depends on the command
        """Send a command, and return its reply.

        Raises:
            RedisUnavailable: Redis did not reply in time, or the circuit is open.
        """
        with self._breaker.guard():
            return await self._send(words)

    async def run(self, script: Script, keys: list[str], *words: Word) -> Any:  # noqa: ANN401
        """Run a script, and return its reply; errors are those of a command."""
        arguments = (len(keys), *keys, *words)
        with self._breaker.guard():
            try:
                return await self._send(("EVALSHA", script.digest, *arguments))
            except NoScriptError:
                return await self._send(("EVAL", script.text, *arguments))

    def measure(self) -> Iterator[Measurement]:
        """Measure the circuit."""
        is_up = not self._breaker.is_open
        yield Measurement("redis_up", "0 while the circuit to Redis is open.", is_up)
        failures, description = self._breaker.failures_total, "Failed calls to Redis."
        yield Measurement("redis_errors_total", description, failures)

    async def ping(self) -> None:
        """Write a key: a full Redis answers PING, and refuses writes."""
        await self.command("SET", self._probe, 1, "PX", _PROBE_MS)

    async def _send(self, words: tuple[Word, ...]) -> Any:  # noqa: ANN401
        connection = await self._connect()
        try:
            async with asyncio.timeout(self._timeout):
                await connection.send_command(*words)
                return await connection.read_response()
        except ResponseError:
            raise
        except BaseException:
            # A late reply must not be taken for the reply to the next command.
            await connection.disconnect(nowait=True)
            raise
        finally:
            try:
                await self._pool.release(connection)
            finally:
                self._free.release()

    async def _connect(self) -> Any:  # noqa: ANN401
        # After a failure Redis is probably down, and every call needs a new connection: don't let
        # each wait for the full time. The probe of an open circuit may.
        doubtful = self._breaker.is_doubtful
        async with asyncio.timeout(self._timeout if doubtful else self._connect_timeout):
            has_waited = self._free.locked()
            await self._free.acquire()
            try:
                if has_waited and self._breaker.is_open:
                    # Opened by a call ahead in the queue.
                    raise RedisConnectionError("circuit open")
                connection = await self._pool.get_connection()
            except BaseException:
                self._free.release()
                raise
        return connection
