"""A cache in Redis."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cache
from typing import Any, Final, TypeVar

import structlog
from pydantic import TypeAdapter, ValidationError

from app.core.ports import Cache
from app.infrastructure.redis import GuardedRedis, RedisUnavailable, Script

T = TypeVar("T")

_LEASE_MS: Final = 10_000
_STORE: Final = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
""")
_RELEASE: Final = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
""")

_adapter: Final[Callable[[Any], TypeAdapter[Any]]] = cache(TypeAdapter)
logger = structlog.stdlib.get_logger(__name__)


class RedisCache(Cache):
    """Shares values between processes; while Redis is unavailable, each call loads.

    On a miss, the key holds a lease until the value is loaded. `forget` deletes the lease too, so
    that a value read before a commit is never stored after it. Calls in this process that find its
    lease wait for the value; other processes load for themselves.
    """

    def __init__(self, redis: GuardedRedis, prefix: str) -> None:
        self._redis = redis
        self._prefix = f"{prefix}:cache"
        self._loading: dict[bytes, asyncio.Future[Any]] = {}

    async def remember(
        self, key: str, ttl: float, load: Callable[[], Awaitable[T]], model: type[T]
    ) -> T:
        """Return the cached value, or load and cache it."""
        lease = b"?" + secrets.token_bytes(8)
        # Before the lease is taken: another call may read it before this one has the reply.
        loading = self._loading[lease] = asyncio.get_running_loop().create_future()
        try:
            return await self._remember(key, lease, ttl, load, _adapter(model))
        finally:
            del self._loading[lease]
            loading.cancel()  # unless it has the value

    async def forget(self, *keys: str) -> None:
        """Drop values, and those being loaded."""
        try:
            await self._redis.command("DEL", *map(self._name, keys))
        except RedisUnavailable as error:
            logger.warning("cache not invalidated", keys=keys, **error.context)

    async def _remember(
        self,
        key: str,
        lease: bytes,
        ttl: float,
        load: Callable[[], Awaitable[T]],
        adapter: TypeAdapter[T],
    ) -> T:
        name = self._name(key)
        try:
            held = await self._redis.command("SET", name, lease, "NX", "GET", "PX", _LEASE_MS)
        except RedisUnavailable:
            return await load()
        if held is None:
            return await self._load(name, lease, ttl, load, adapter)
        if held.startswith(b"?"):
            return await self._join(held, load)
        try:
            return adapter.validate_json(held)
        except ValidationError:
            # Written by another version of the service.
            await self.forget(key)
            return await load()

    async def _load(
        self,
        name: str,
        lease: bytes,
        ttl: float,
        load: Callable[[], Awaitable[T]],
        adapter: TypeAdapter[T],
    ) -> T:
        try:
            value = await load()
        except BaseException:
            self._loading[lease].cancel()
            with suppress(RedisUnavailable):
                await self._redis.run(_RELEASE, [name], lease)
            raise
        self._loading[lease].set_result(value)
        with suppress(RedisUnavailable):
            await self._redis.run(
                _STORE, [name], lease, adapter.dump_json(value), round(ttl * 1000)
            )
        return value

    async def _join(self, lease: bytes, load: Callable[[], Awaitable[T]]) -> T:
        """Wait for a value that this process loads; load it if that fails."""
        if (loading := self._loading.get(lease)) is not None:
            await asyncio.wait({loading}, timeout=_LEASE_MS / 1000)
            if loading.done() and not loading.cancelled():
                value: T = loading.result()
                return value
        return await load()

    def _name(self, key: str) -> str:
        return f"{self._prefix}:{key}"
