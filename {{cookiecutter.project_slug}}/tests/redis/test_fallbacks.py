"""Rate limits, with Redis and while it is unavailable."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from app.core.config import RateLimitSettings
from app.core.config.redis import RedisSettings
from app.infrastructure.limits import Quota, RateLimiter
from app.infrastructure.redis import GuardedRedis, RedisUnavailable, Script
from app.infrastructure.redis.limits import RedisRateLimiter


class Switched(GuardedRedis):
    """A Redis that can be switched off."""

    is_there = True

    async def command(self, *words: str | bytes | int) -> Any:
        self._look()
        return await super().command(*words)

    async def run(self, script: Script, keys: list[str], *words: str | bytes | int) -> Any:
        self._look()
        return await super().run(script, keys, *words)

    def _look(self) -> None:
        if not self.is_there:
            raise RedisUnavailable


@pytest.fixture
async def redis(redis_settings: RedisSettings) -> AsyncIterator[Switched]:
    async with Switched.open(redis_settings) as redis:
        assert isinstance(redis, Switched)
        yield redis


_SET_BACK = Script("return redis.call('HINCRBY', KEYS[1], 'w', 1000000)")
_WINDOW = Script("return tonumber(redis.call('HGET', KEYS[1], 'w'))")


class TestRateLimiter:
    @pytest.fixture
    def limiter(self, redis: Switched, redis_settings: RedisSettings) -> RedisRateLimiter:
        settings = RateLimitSettings(auth_address="3/hour")
        return RedisRateLimiter(settings, redis, redis_settings.prefix)

    async def hits(self, limiter: RateLimiter, times: int = 4) -> list[Quota]:
        quotas = [await limiter.hit("auth-address", "somebody") for _ in range(times)]
        return [quota for quota in quotas if quota]

    async def allowed(self, limiter: RateLimiter, times: int = 4) -> list[bool]:
        return [quota.allowed for quota in await self.hits(limiter, times)]

    async def test_counts_as_in_memory(self, limiter: RedisRateLimiter) -> None:
        local = RateLimiter(RateLimitSettings(auth_address="3/hour"))
        ours, theirs = await self.hits(limiter), await self.hits(local)
        # The clocks of Redis and of this process may differ by a second.
        assert all(
            abs(a.reset_after - b.reset_after) <= 2 for a, b in zip(ours, theirs, strict=True)
        )
        assert [replace(quota, reset_after=0) for quota in ours] == [
            replace(quota, reset_after=0) for quota in theirs
        ]

    async def test_keeps_its_counts_when_the_clock_is_set_back(
        self, limiter: RedisRateLimiter, redis: Switched, redis_settings: RedisSettings
    ) -> None:
        await self.hits(limiter)
        key = f"{redis_settings.prefix}:limits:auth-address:somebody"
        await redis.run(_SET_BACK, [key])
        assert await self.allowed(limiter) == [False] * 4
        assert await redis.run(_WINDOW, [key]) < 10**6

    async def test_limits_concurrent_requests(self, limiter: RedisRateLimiter) -> None:
        quotas = await asyncio.gather(*(limiter.hit("auth-address", "many") for _ in range(40)))
        assert sum(quota.allowed for quota in quotas if quota) == 3

    async def test_weighs_the_previous_window(
        self, limiter: RedisRateLimiter, redis: Switched, redis_settings: RedisSettings
    ) -> None:
        seconds, _ = await redis.command("TIME")
        previous = int(seconds) // 3600 - 1
        key = f"{redis_settings.prefix}:limits:auth-address:somebody"
        await redis.command("HSET", key, "w", previous, "c", 10**6, "p", 0)
        (quota,) = await self.hits(limiter, 1)
        assert (quota.allowed, quota.remaining, quota.reset_after) == (False, 0, 1)

    async def test_counts_in_this_process_while_redis_is_unavailable(
        self, limiter: RedisRateLimiter, redis: Switched
    ) -> None:
        assert await self.allowed(limiter, 1) == [True]
        redis.is_there = False
        assert await self.allowed(limiter) == [True, True, True, False]
        redis.is_there = True
        assert await self.allowed(limiter, 3) == [True, True, False]

    async def test_sends_one_command_and_stores_one_key_that_expires(
        self,
        limiter: RedisRateLimiter,
        redis: Switched,
        redis_settings: RedisSettings,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        await self.hits(limiter, 1)
        sent: list[object] = []
        send = redis._send

        async def note(words: tuple[str | bytes | int, ...]) -> object:
            sent.append(words[0])
            return await send(words)

        monkeypatch.setattr(redis, "_send", note)
        await self.hits(limiter, 1)
        assert sent == ["EVALSHA"]
        (key,) = await redis.command("KEYS", f"{redis_settings.prefix}:*")
        assert key.decode() == f"{redis_settings.prefix}:limits:auth-address:somebody"
        assert 0 < await redis.command("TTL", key) <= 7200
