"""The cache in Redis."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from app.core.config.redis import RedisSettings
from app.infrastructure.redis import GuardedRedis
from app.infrastructure.redis.cache import RedisCache
from tests.support.redis_plugin import OwnRedis
from tests.support.waiting import eventually


@dataclass(frozen=True)
class Report:
    """A value to cache."""

    rows: int


@dataclass(frozen=True)
class OtherReport:
    """The same value in another version of the service."""

    lines: int


class Source:
    """Reads a report, and counts how often."""

    def __init__(self, rows: int = 1) -> None:
        self.rows = rows
        self.loads = 0
        self.started = asyncio.Event()
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def load(self) -> Report:
        self.loads += 1
        read = Report(self.rows)
        self.started.set()
        await self.may_end.wait()
        return read


@pytest.fixture
async def redis(redis_settings: RedisSettings) -> AsyncIterator[GuardedRedis]:
    async with GuardedRedis.open(redis_settings) as redis:
        yield redis


@pytest.fixture
def cache(redis: GuardedRedis, redis_settings: RedisSettings) -> RedisCache:
    return RedisCache(redis, redis_settings.prefix)


@pytest.fixture
def other_process(redis: GuardedRedis, redis_settings: RedisSettings) -> RedisCache:
    return RedisCache(redis, redis_settings.prefix)


async def remembered(cache: RedisCache, source: Source) -> Report:
    return await cache.remember("report", 60, source.load, Report)


class TestRemember:
    async def test_loads_once_for_all_processes_and_expires(
        self, cache: RedisCache, other_process: RedisCache, redis: GuardedRedis
    ) -> None:
        source = Source()
        for each in (cache, other_process, cache):
            assert await remembered(each, source) == Report(1)
        assert source.loads == 1
        assert 0 < await redis.command("TTL", cache._name("report")) <= 60

    async def test_shares_a_load_between_concurrent_calls(
        self, cache: RedisCache, redis: GuardedRedis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source, join, waiting = Source(), cache._join, []
        command, others_wait = redis.command, asyncio.Event()

        async def replied_last(*arguments: Any) -> Any:
            reply = await command(*arguments)
            if reply is None:
                await others_wait.wait()
            return reply

        async def noted(*arguments: Any) -> Any:
            waiting.append(arguments)
            if len(waiting) == 4:
                others_wait.set()
            return await join(*arguments)

        async def all_others_wait() -> bool:
            return len(waiting) == 4

        monkeypatch.setattr(redis, "command", replied_last)
        monkeypatch.setattr(cache, "_join", noted)
        source.may_end.clear()
        calls = [asyncio.create_task(remembered(cache, source)) for _ in range(5)]
        await eventually(all_others_wait)
        source.may_end.set()
        assert await asyncio.gather(*calls) == [Report(1)] * 5
        assert source.loads == 1

    async def test_loads_for_callers_whose_shared_load_was_cancelled(
        self, cache: RedisCache
    ) -> None:
        source = Source()
        source.may_end.clear()
        first = asyncio.create_task(remembered(cache, source))
        await source.started.wait()
        second = asyncio.create_task(remembered(cache, source))
        await asyncio.sleep(0)
        first.cancel()
        source.may_end.set()
        assert await second == Report(1)
        with pytest.raises(asyncio.CancelledError):
            await first

    async def test_caches_no_failure(self, cache: RedisCache) -> None:
        async def fail() -> Report:
            raise OSError

        with pytest.raises(OSError):  # noqa: PT011 - raised above
            await cache.remember("report", 60, fail, Report)
        assert await remembered(cache, Source()) == Report(1)

    async def test_loads_what_another_version_has_cached(self, cache: RedisCache) -> None:
        async def load() -> OtherReport:
            return OtherReport(2)

        await remembered(cache, Source())
        assert await cache.remember("report", 60, load, OtherReport) == OtherReport(2)


class TestForget:
    async def test_drops_a_value(self, cache: RedisCache, other_process: RedisCache) -> None:
        source = Source()
        await remembered(other_process, source)
        source.rows = 2
        await cache.forget("report", "unknown")
        assert await remembered(other_process, source) == Report(2)

    async def test_drops_a_value_that_is_being_loaded(
        self, cache: RedisCache, other_process: RedisCache
    ) -> None:
        source = Source()
        source.may_end.clear()
        early = asyncio.create_task(remembered(cache, source))
        await source.started.wait()
        await other_process.forget("report")
        source.rows = 2
        source.may_end.set()
        assert await remembered(cache, source) == Report(2)
        assert await early == Report(1)
        assert await remembered(other_process, source) == Report(2)


class TestRedisUnavailable:
    async def test_loads_each_time(
        self, own_redis: Callable[[], OwnRedis], redis_settings: RedisSettings
    ) -> None:
        server = own_redis()
        settings = redis_settings.model_copy(update={"url": RedisSettings(url=server.url).url})
        async with GuardedRedis.open(settings) as redis:
            cache, source = RedisCache(redis, settings.prefix), Source()
            source.may_end.clear()
            call = asyncio.create_task(remembered(cache, source))
            await source.started.wait()
            server.kill()
            source.may_end.set()
            assert await call == Report(1)
            assert [await remembered(cache, source) for _ in range(2)] == [Report(1)] * 2
            await cache.forget("report")
        assert source.loads == 3
