"""What must reach Redis, if not now, then later."""

import asyncio

import pytest
from structlog.testing import capture_logs

from app.infrastructure.redis import RedisUnavailable
from app.infrastructure.redis.outbox import Outbox
from tests.support.waiting import eventually


class Redis:
    """Hears, or doesn't."""

    def __init__(self) -> None:
        self.is_there = False
        self.heard: list[str] = []
        self.tried = asyncio.Event()

    async def hear(self, word: str) -> None:
        self.tried.set()
        if not self.is_there:
            raise RedisUnavailable
        self.heard.append(word)


@pytest.fixture
def redis() -> Redis:
    return Redis()


async def send(outbox: Outbox, redis: Redis, word: str, seconds: float = 60) -> None:
    await outbox.send([word], lambda: redis.hear(word), seconds=seconds)


async def empty(outbox: Outbox) -> None:
    async def is_empty() -> bool:
        return not len(outbox)

    await eventually(is_empty, "the outbox is empty")


class TestSend:
    async def test_is_done_at_once_where_that_can_be(self, redis: Redis) -> None:
        redis.is_there = True
        async with Outbox.open(60) as outbox:
            await send(outbox, redis, "a")
            assert (redis.heard, len(outbox), "a" in outbox) == (["a"], 0, False)

    async def test_is_done_in_order_when_redis_is_back(self, redis: Redis) -> None:
        async with Outbox.open(0.001) as outbox:
            for word in "aba":
                await send(outbox, redis, word)
            assert "a" in outbox
            assert "c" not in outbox
            redis.is_there = True
            await empty(outbox)
            assert "a" not in outbox
        assert redis.heard == ["a", "b", "a"]

    async def test_is_done_also_if_whoever_asked_is_gone(self, redis: Redis) -> None:
        never = asyncio.Event()

        async def hang() -> None:
            if not redis.is_there:
                redis.tried.set()
                await never.wait()
            redis.heard.append("a")

        async with Outbox.open(0.001) as outbox:
            sending = asyncio.create_task(outbox.send(["a"], hang, seconds=60))
            await redis.tried.wait()
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            redis.is_there = True
            await empty(outbox)
        assert redis.heard == ["a"]

    async def test_is_given_up_when_it_no_longer_matters(self, redis: Redis) -> None:
        async with Outbox.open(0.001) as outbox:
            await send(outbox, redis, "a", seconds=0.002)
            await empty(outbox)
        assert redis.heard == []


class TestClose:
    async def test_tries_a_last_time(self, redis: Redis) -> None:
        async with Outbox.open(60) as outbox:
            await send(outbox, redis, "a")
            redis.is_there = True
        assert redis.heard == ["a"]

    async def test_says_what_is_lost(self, redis: Redis) -> None:
        with capture_logs() as logs:
            async with Outbox.open(60) as outbox:
                await send(outbox, redis, "a")
        assert [(log["event"], log.get("lost")) for log in logs] == [
            ("redis hears of it later", None),
            ("redis never heard of it", 1),
        ]
