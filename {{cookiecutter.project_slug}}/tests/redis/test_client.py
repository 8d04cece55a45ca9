"""The Redis client: time limits, connections and scripts."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from pydantic import SecretStr

from app.core.config.redis import RedisSettings
from app.infrastructure.redis import GuardedRedis, RedisUnavailable, Script, open_redis
from tests.support.redis_plugin import OwnRedis
from tests.support.waiting import PATIENCE

ECHO = Script("return ARGV[1]")


@pytest.fixture
def own(own_redis: Callable[[], OwnRedis]) -> OwnRedis:
    return own_redis()


@pytest.fixture
def quick(own: OwnRedis) -> RedisSettings:
    """A Redis of the test's own, with short time limits."""
    return RedisSettings(
        url=SecretStr(own.url),
        timeout=0.1,
        connect_timeout=0.2,
        pool_size=4,
        breaker_failures=4,
        breaker_seconds=0.05,
    )


@pytest.fixture
async def hasty(quick: RedisSettings) -> AsyncIterator[GuardedRedis]:
    """Gives up soon; on a slow machine, also while Redis is up."""
    async with GuardedRedis.open(quick) as redis:
        yield redis


@pytest.fixture
async def redis(quick: RedisSettings) -> AsyncIterator[GuardedRedis]:
    """Gives up only when Redis is down."""
    patient = quick.model_copy(update={"timeout": PATIENCE, "connect_timeout": PATIENCE})
    async with GuardedRedis.open(patient) as redis:
        yield redis


async def once_it_answers(ask: Callable[[], Awaitable[Any]]) -> Any:
    """Return the reply as soon as Redis is available."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await ask()
            except RedisUnavailable:
                await asyncio.sleep(0.01)


async def test_tcp_connections_are_kept_alive_and_limited() -> None:
    settings = RedisSettings(url=SecretStr("redis://127.0.0.1:1/0"), pool_size=3)
    async with open_redis(settings) as client:
        options = client.connection_pool.connection_kwargs
        assert options["socket_keepalive"] is True
        assert options["health_check_interval"] > 0
        assert client.connection_pool.max_connections == 3


class TestGuardedRedis:
    async def test_runs_scripts_that_redis_does_not_know(self, redis: GuardedRedis) -> None:
        for _ in range(2):
            await redis.command("SCRIPT", "FLUSH")
            assert [await redis.run(ECHO, [], "a") for _ in range(2)] == [b"a"] * 2

    async def test_shares_few_connections(self, redis: GuardedRedis) -> None:
        answers = await asyncio.gather(*(redis.run(ECHO, [], n) for n in range(50)))
        connections = (await redis.command("CLIENT", "LIST")).splitlines()
        assert answers == [str(n).encode() for n in range(50)]
        assert len(connections) <= 4

    async def test_continues_after_an_error_reply(self, redis: GuardedRedis) -> None:
        with pytest.raises(RedisUnavailable):
            await redis.command("NONSENSE")
        await redis.ping()

    async def test_reconnects_after_a_restart(self, redis: GuardedRedis, own: OwnRedis) -> None:
        await redis.command("SET", "kept", "1")
        own.kill()
        with pytest.raises(RedisUnavailable):
            await redis.ping()
        own.start()
        await once_it_answers(redis.ping)
        assert await redis.command("GET", "kept") == b"1"

    async def test_does_not_wait_for_a_hanging_redis_with_each_call(
        self, hasty: GuardedRedis, own: OwnRedis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connect, connected = hasty._pool.get_connection, []
        for connection in [await connect() for _ in range(4)]:
            await hasty._pool.release(connection)
        own.freeze()

        async def counted() -> Any:
            connected.append(1)
            return await connect()

        monkeypatch.setattr(hasty._pool, "get_connection", counted)
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
            calls = [group.create_task(self.refused(hasty)) for _ in range(100)]
        assert all(call.result() for call in calls)
        # Four time out, and one may follow on each but the last of them, which opens the circuit.
        assert len(connected) <= 4 + 3
        own.thaw()
        await once_it_answers(hasty.ping)

    async def test_drops_late_replies(self, hasty: GuardedRedis, own: OwnRedis) -> None:
        await once_it_answers(lambda: hasty.command("SET", "secret", "of somebody else"))
        own.freeze()
        with pytest.raises(RedisUnavailable):
            await hasty.command("GET", "secret")
        own.thaw()
        for _ in range(8):
            assert await once_it_answers(lambda: hasty.run(ECHO, [], "mine")) == b"mine"

    async def test_returns_the_connections_of_cancelled_calls(
        self, redis: GuardedRedis, own: OwnRedis
    ) -> None:
        await redis.ping()
        own.freeze()
        calls = [asyncio.create_task(redis.ping()) for _ in range(20)]
        await asyncio.sleep(0)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        own.thaw()
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(redis.run(ECHO, [], n) for n in range(20)))

    async def refused(self, redis: GuardedRedis) -> bool:
        with pytest.raises(RedisUnavailable):
            await redis.ping()
        return True
