"""What becomes of counters and idempotency keys while Redis is away, and when it is back."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.core.config.redis import RedisSettings
from app.core.ids import new_id
from app.domain.idempotency import (
    Answer,
    Claim,
    IdempotencyKey,
    IdempotencyKeyInUse,
    IdempotencyUnavailable,
)
from app.infrastructure.outbox import Outbox
from app.infrastructure.redis import GuardedRedis, RedisUnavailable, Script
from app.infrastructure.redis.idempotency import RedisIdempotency
from app.infrastructure.redis.rate_limits import SharedCounters

KEY = IdempotencyKey(new_id(), "POST /items", "key")
ANSWER = Answer(201, (("etag", '"1"'),), b"{}")


class Switched(GuardedRedis):
    """A Redis that can be taken away."""

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


class TestCounters:
    @pytest.fixture
    def counters(self, redis: Switched, redis_settings: RedisSettings) -> SharedCounters:
        return SharedCounters(redis, redis_settings.prefix)

    async def hits(self, counters: SharedCounters, times: int = 4) -> list[bool]:
        return [(await counters.hit("key", 3, 3600)).allowed for _ in range(times)]

    async def test_are_those_of_the_process_while_redis_is_away(
        self, counters: SharedCounters, redis: Switched
    ) -> None:
        redis.is_there = False
        assert await self.hits(counters) == [True, True, True, False]
        assert (await counters.get_sliding_window("key", 3600))[2] == 3
        assert [await counters.incr("other", 60), await counters.get("other")] == [1, 1]
        assert await counters.get_expiry("other") > 0
        assert not await counters.check()

    async def test_are_shared_again_when_it_is_back(
        self, counters: SharedCounters, redis: Switched
    ) -> None:
        assert await self.hits(counters, 1) == [True]
        redis.is_there = False
        assert await self.hits(counters) == [True, True, True, False]
        redis.is_there = True
        assert await self.hits(counters, 3) == [True, True, False]

    async def test_leave_one_key_for_each_subject_which_expires(
        self, counters: SharedCounters, redis: Switched, redis_settings: RedisSettings
    ) -> None:
        await self.hits(counters)
        (key,) = await redis.command("KEYS", f"{redis_settings.prefix}:*")
        assert key.decode() == f"{redis_settings.prefix}:limits:key"
        assert 0 < await redis.command("TTL", key) <= 7200

    async def test_take_one_call(
        self, counters: SharedCounters, redis: Switched, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await self.hits(counters, 1)
        sent: list[object] = []
        send = redis._send

        async def note(words: tuple[str | bytes | int, ...]) -> object:
            sent.append(words[0])
            return await send(words)

        monkeypatch.setattr(redis, "_send", note)
        await self.hits(counters, 1)
        assert sent == ["EVALSHA"]


class TestIdempotency:
    @pytest.fixture
    async def outbox(self) -> AsyncIterator[Outbox]:
        async with Outbox.open("redis", RedisUnavailable, retry_seconds=60) as outbox:
            yield outbox

    @pytest.fixture
    def store(
        self, redis: Switched, outbox: Outbox, redis_settings: RedisSettings
    ) -> RedisIdempotency:
        return RedisIdempotency(
            redis, outbox, prefix=redis_settings.prefix, answer_seconds=60, claim_seconds=60
        )

    async def claimed(self, store: RedisIdempotency) -> Claim:
        claim = await store.claim(KEY, "f")
        assert isinstance(claim, Claim)
        return claim

    async def test_promises_nothing_while_redis_is_away(
        self, store: RedisIdempotency, redis: Switched
    ) -> None:
        redis.is_there = False
        with pytest.raises(IdempotencyUnavailable):
            await store.claim(KEY, "f")

    async def test_keeps_an_answer_when_redis_is_back(
        self, store: RedisIdempotency, redis: Switched, outbox: Outbox
    ) -> None:
        claim = await self.claimed(store)
        redis.is_there = False
        await store.keep(claim, ANSWER)
        with pytest.raises(IdempotencyKeyInUse):
            await store.claim(KEY, "f")
        redis.is_there = True
        await outbox.close()
        assert await store.claim(KEY, "f") == ANSWER

    async def test_keeps_an_answer_although_redis_has_lost_the_claim(
        self, store: RedisIdempotency, redis: Switched, redis_settings: RedisSettings
    ) -> None:
        claim = await self.claimed(store)
        for key in await redis.command("KEYS", f"{redis_settings.prefix}:*"):
            await redis.command("DEL", key)
        await store.keep(claim, ANSWER)
        assert await store.claim(KEY, "f") == ANSWER

    async def test_leaves_no_key_for_ever(
        self, store: RedisIdempotency, redis: Switched, redis_settings: RedisSettings
    ) -> None:
        claim = await self.claimed(store)
        (key,) = await redis.command("KEYS", f"{redis_settings.prefix}:*")
        assert 0 < await redis.command("TTL", key) <= 60
        await store.keep(claim, ANSWER)
        assert 0 < await redis.command("TTL", key) <= 60
        assert KEY.text not in key.decode().rpartition(":")[2]
