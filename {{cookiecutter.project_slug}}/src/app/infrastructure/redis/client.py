"""Connections to Redis, and calls that end in time whatever becomes of it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError

from app.core.config.redis import RedisSettings
from app.infrastructure.redis.breaker import Breaker

Word = str | bytes | int
"""One word of a command."""

_CONNECTIONS: Final = 32
_HEALTH_CHECK_SECONDS: Final = 30


@asynccontextmanager
async def open_redis(
    settings: RedisSettings, *, connections: int | None = None
) -> AsyncIterator["Redis"]:
    """Yield a client that connects when it is first used, and close it afterwards.

    It does not limit how long a command takes, because some wait on purpose: give it a limit by
    `asyncio.timeout`, or use a `GuardedRedis`.

    Args:
        settings: Where Redis is.
        connections: Most connections at once, where the settings leave that open.
    """
    url = settings.url.get_secret_value()
    options: dict[str, Any] = {
        "max_connections": settings.pool_size or connections or _CONNECTIONS,
        "protocol": 2,
        "socket_timeout": None,
        "socket_connect_timeout": settings.connect_timeout,
        # One that the other side has dropped without a word is found by a PING before it is used.
        "health_check_interval": _HEALTH_CHECK_SECONDS,
        # Whoever calls decides what to do about a failure; the breaker counts it.
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
    """A Lua script, which Redis runs as one step.

    Attributes:
        text: Its source.
        digest: What Redis knows it by, once it has seen it.
    """

    text: str
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        # SHA-1 is what the protocol asks for; nothing depends on its strength.
        digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "digest", digest)


class GuardedRedis:
    """Calls Redis within a time limit, and behind a breaker.

    It takes connections from the client's pool itself: so connecting and the command have a limit
    each, and a call costs a third less than through the client's own methods.
    """

    def __init__(self, client: "Redis", settings: RedisSettings, breaker: Breaker | None = None):
        """Call through the pool of this client.

        Args:
            client: Its connections are used.
            settings: The time limits.
            breaker: Shared with others who use the same Redis; by default one of its own.
        """
        self._pool: _Pool = client.connection_pool
        self._free = asyncio.Semaphore(client.connection_pool.max_connections)
        self._timeout = settings.timeout
        self._connect_timeout = settings.connect_timeout
        self._breaker = breaker or Breaker(settings.breaker_failures, settings.breaker_seconds)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, settings: RedisSettings, *, connections: int | None = None
    ) -> AsyncIterator["GuardedRedis"]:
        """Yield one with a client of its own, which is closed afterwards."""
        async with open_redis(settings, connections=connections) as client:
            yield cls(client, settings)

    async def command(self, *words: Word) -> Any:  # noqa: ANN401 - what Redis answers
        """Return the answer to a command: bytes, a number, a list of these, or None.

        Raises:
            RedisUnavailable: There is none, or not in time.
        """
        return await self._breaker.call(lambda: self._send(words))

    async def run(self, script: Script, keys: list[str], *words: Word) -> Any:  # noqa: ANN401
        """Return the answer of a script.

        Raises:
            RedisUnavailable: There is none, or not in time.
        """
        return await self._breaker.call(lambda: self._run(script, (len(keys), *keys, *words)))

    async def ping(self) -> None:
        """Pass if Redis answers.

        Raises:
            RedisUnavailable: It doesn't.
        """
        await self.command("PING")

    async def _run(self, script: Script, words: tuple[Word, ...]) -> Any:  # noqa: ANN401
        try:
            return await self._send(("EVALSHA", script.digest, *words))
        except NoScriptError:
            # It was started anew, or has never seen the script.
            return await self._send(("EVAL", script.text, *words))

    async def _send(self, words: tuple[Word, ...]) -> Any:  # noqa: ANN401
        connection = await self._connected()
        try:
            async with asyncio.timeout(self._timeout):
                await connection.send_command(*words)
                return await connection.read_response()
        except ResponseError:
            raise
        except BaseException:
            # Its answer may still come, and must not be taken for that to the next command.
            await connection.disconnect(nowait=True)
            raise
        finally:
            try:
                await self._pool.release(connection)
            finally:
                self._free.release()

    async def _connected(self) -> "_Connection":
        """Take a connection from the pool; whoever gets it gives it back."""
        # If the last call failed, Redis may well be away, and the next ones need connections anew:
        # they don't wait as long as connecting may take. The probe of an open circuit does.
        doubtful = self._breaker.is_doubtful
        async with asyncio.timeout(self._timeout if doubtful else self._connect_timeout):
            has_waited = self._free.locked()
            await self._free.acquire()
            try:
                if has_waited and self._breaker.is_open:
                    # Those before us have found out: a queue must not find out one by one.
                    raise RedisConnectionError("circuit open")
                connection: _Connection = await self._pool.get_connection()
            except BaseException:
                self._free.release()
                raise
        return connection


class _Connection(Protocol):
    """What is used of a connection; the library's own types differ from version to version."""

    async def send_command(self, *args: Any, **kwargs: Any) -> None: ...

    async def read_response(self) -> Any: ...  # noqa: ANN401

    async def disconnect(self, nowait: bool = False) -> None: ...


class _Pool(Protocol):
    """What is used of a pool."""

    async def get_connection(self) -> Any: ...  # noqa: ANN401

    async def release(self, connection: Any) -> None: ...  # noqa: ANN401
