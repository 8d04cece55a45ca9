"""What keeps requests from waiting for a Redis that is away."""

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import structlog
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.core.errors import Unavailable

T = TypeVar("T")
Clock = Callable[[], float]
logger = structlog.stdlib.get_logger(__name__)

FAILURES = (RedisConnectionError, RedisTimeoutError, ResponseError, OSError)
"""What a Redis raises that is of no use: away, too slow, loading, full, read-only. Python's own
`TimeoutError` is an `OSError`."""


class RedisUnavailable(Unavailable):
    """Redis does not answer, or is not asked because it did not answer before."""


class Breaker:
    """A circuit that opens after some failures in a row, and then refuses calls at once.

    After a while it lets one call through, the probe: if that succeeds, all may go again; if it
    fails, the wait starts anew.

    Args:
        failures: How many failures in a row open it.
        seconds: How long it refuses before it lets a probe through.
        clock: Gives the time in seconds, from any start.
    """

    def __init__(self, failures: int, seconds: float, clock: Clock = time.monotonic) -> None:
        self._failures = failures
        self._seconds = seconds
        self._clock = clock
        self._failed_in_a_row = 0
        self._open_until: float | None = None
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether calls are refused."""
        return self._open_until is not None

    @property
    def is_doubtful(self) -> bool:
        """Whether the last call failed, and calls are still let through."""
        return self._failed_in_a_row > 0 and not self.is_open

    async def call(self, action: Callable[[], Awaitable[T]]) -> T:
        """Do something with Redis, which must have a time limit of its own.

        Args:
            action: Starts it; not called while the circuit is open.

        Raises:
            RedisUnavailable: It failed, or was refused.
        """
        with self.watching():
            return await action()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Have the block use Redis, which must have a time limit of its own.

        Raises:
            RedisUnavailable: It failed, or was refused before the block began.
        """
        is_probe = self._admit()
        try:
            yield
        except FAILURES as error:
            self._fail(error)
            raise RedisUnavailable(cause=type(error).__name__) from error
        finally:
            # Also of a probe that was cancelled: it has shown nothing, and another may try.
            if is_probe:
                self._probing = False
        self._succeed()

    def _admit(self) -> bool:
        """Let a call through; tell whether it is the probe."""
        if self._open_until is None:
            return False
        if self._probing or self._clock() < self._open_until:
            raise RedisUnavailable(cause="circuit open")
        self._probing = True
        return True

    def _fail(self, error: Exception) -> None:
        self._failed_in_a_row += 1
        if self._failed_in_a_row < self._failures:
            return
        if not self.is_open:
            logger.warning("redis is away", cause=type(error).__name__)
        self._open_until = self._clock() + self._seconds

    def _succeed(self) -> None:
        self._failed_in_a_row = 0
        if self.is_open:
            self._open_until = None
            logger.info("redis is back")
