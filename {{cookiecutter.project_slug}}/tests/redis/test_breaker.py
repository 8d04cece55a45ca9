"""The circuit breaker of Redis."""

import asyncio

import pytest
from redis.exceptions import DataError, ReadOnlyError
from structlog.testing import capture_logs

from app.infrastructure.redis import Breaker, RedisUnavailable


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(failures=3, seconds=5, clock=clock)


class Redis:
    """Answers or fails, and counts how often it was asked."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.asked = error, 0

    async def __call__(self) -> str:
        self.asked += 1
        if self.error:
            raise self.error
        return "PONG"


async def failed(breaker: Breaker, redis: Redis, times: int) -> None:
    for _ in range(times):
        with pytest.raises(RedisUnavailable):
            await breaker.call(redis)


class TestClosed:
    async def test_lets_calls_through(self, breaker: Breaker) -> None:
        assert await breaker.call(Redis()) == "PONG"
        assert not breaker.is_open

    @pytest.mark.parametrize("error", [ConnectionError(), TimeoutError(), ReadOnlyError()])
    async def test_translates_failures(self, breaker: Breaker, error: Exception) -> None:
        with pytest.raises(RedisUnavailable) as raised:
            await breaker.call(Redis(error))
        assert raised.value.__cause__ is error

    async def test_does_not_count_our_own_mistakes(self, breaker: Breaker) -> None:
        for _ in range(5):
            with pytest.raises(DataError):
                await breaker.call(Redis(DataError()))
        assert not breaker.is_open

    async def test_counts_failures_in_a_row_only(self, breaker: Breaker) -> None:
        for _ in range(3):
            await failed(breaker, Redis(ConnectionError()), 2)
            await breaker.call(Redis())
        assert not breaker.is_open


class TestOpen:
    async def test_refuses_calls_at_once(self, breaker: Breaker) -> None:
        redis = Redis(ConnectionError())
        with capture_logs() as logs:
            await failed(breaker, redis, 10)
        assert redis.asked == 3
        assert breaker.is_open
        assert [(log["event"], log["cause"]) for log in logs] == [
            ("redis unavailable", "ConnectionError")
        ]

    async def test_closes_when_a_probe_succeeds(self, breaker: Breaker, clock: Clock) -> None:
        await failed(breaker, Redis(ConnectionError()), 3)
        clock.now += 5
        with capture_logs() as logs:
            assert await breaker.call(Redis()) == "PONG"
        assert not breaker.is_open
        assert [log["event"] for log in logs] == ["redis available"]

    async def test_stays_open_when_a_probe_fails(self, breaker: Breaker, clock: Clock) -> None:
        redis = Redis(ConnectionError())
        await failed(breaker, redis, 3)
        clock.now += 5
        await failed(breaker, redis, 3)
        assert redis.asked == 4
        clock.now += 4.9
        await failed(breaker, redis, 1)
        assert redis.asked == 4

    async def test_lets_one_probe_through_at_a_time(self, breaker: Breaker, clock: Clock) -> None:
        await failed(breaker, Redis(ConnectionError()), 3)
        clock.now += 5
        may_end = asyncio.Event()
        probe = asyncio.create_task(breaker.call(may_end.wait))
        await asyncio.sleep(0)
        redis = Redis()
        await failed(breaker, redis, 3)
        assert redis.asked == 0
        may_end.set()
        await probe
        assert await breaker.call(redis) == "PONG"

    async def test_lets_another_probe_through_after_a_cancelled_one(
        self, breaker: Breaker, clock: Clock
    ) -> None:
        await failed(breaker, Redis(ConnectionError()), 3)
        clock.now += 5
        probe = asyncio.create_task(breaker.call(asyncio.Event().wait))
        await asyncio.sleep(0)
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe
        assert await breaker.call(Redis()) == "PONG"
