"""The circuit breaker of Redis."""

import asyncio

import pytest
from redis.exceptions import DataError, ReadOnlyError
from structlog.testing import capture_logs

from app.infrastructure.redis import Breaker, RedisUnavailable


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(failures=3, seconds=5, clock=clock)


def call(breaker: Breaker, error: Exception | None = None) -> None:
    with breaker.guard():
        if error:
            raise error


def failed(breaker: Breaker, times: int = 1) -> list[str]:
    """Fail several times, and return the causes."""
    causes: list[str] = []
    for _ in range(times):
        with pytest.raises(RedisUnavailable) as raised:
            call(breaker, ConnectionError())
        causes.append(str(raised.value.context["cause"]))
    return causes


class TestClosed:
    def test_translates_failures_of_redis_alone(self, breaker: Breaker) -> None:
        for error in (ConnectionError(), TimeoutError()):
            with pytest.raises(RedisUnavailable) as raised:
                call(breaker, error)
            assert raised.value.__cause__ is error
        call(breaker)
        with pytest.raises(RedisUnavailable):
            call(breaker, ReadOnlyError())
        call(breaker)
        for _ in range(5):
            with pytest.raises(DataError):
                call(breaker, DataError())
        assert not breaker.is_open

    def test_counts_failures_in_a_row_only(self, breaker: Breaker) -> None:
        for _ in range(3):
            failed(breaker, 2)
            call(breaker)
        assert not breaker.is_open


class TestOpen:
    def test_refuses_calls_until_a_probe_succeeds(self, breaker: Breaker, clock: Clock) -> None:
        with capture_logs() as logs:
            causes = failed(breaker, 5)
            clock.now += 5
            call(breaker)
        assert causes == ["ConnectionError"] * 3 + ["circuit open"] * 2
        assert not breaker.is_open
        assert [log["event"] for log in logs] == ["redis unavailable", "redis available"]

    def test_stays_open_when_a_probe_fails(self, breaker: Breaker, clock: Clock) -> None:
        failed(breaker, 3)
        clock.now += 5
        assert failed(breaker, 2) == ["ConnectionError", "circuit open"]
        clock.now += 4.9
        assert failed(breaker) == ["circuit open"]

    @pytest.mark.parametrize("error", [None, asyncio.CancelledError()])
    def test_lets_one_probe_through_at_a_time(
        self, breaker: Breaker, clock: Clock, error: BaseException | None
    ) -> None:
        failed(breaker, 3)
        clock.now += 5
        probe = breaker.guard()
        probe.__enter__()
        assert failed(breaker) == ["circuit open"]
        probe.__exit__(type(error) if error else None, error, None)
        # A cancelled probe has shown nothing: the next call is one.
        call(breaker)
        assert not breaker.is_open
