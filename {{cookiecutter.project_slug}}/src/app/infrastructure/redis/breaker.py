"""A circuit breaker for Redis."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.core.errors import Unavailable

logger = structlog.stdlib.get_logger(__name__)

# A ResponseError too: Redis is loading, full or read-only.
_FAILURES = (RedisConnectionError, RedisTimeoutError, ResponseError, OSError)


class RedisUnavailable(Unavailable):
    """Redis does not answer, or the circuit is open."""


class Breaker:
    """Refuses calls for a while after several failures in a row.

    Then a single call goes through as a probe: its success closes the circuit, its failure keeps
    it open.

    Args:
        failures: Failures in a row that open the circuit.
        seconds: Time until the next probe.

    Attributes:
        failures_total: All failures so far.
    """

    def __init__(
        self, failures: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._failures = failures
        self._seconds = seconds
        self._clock = clock
        self._failed = 0
        self.failures_total = 0
        self._open_until: float | None = None
        self._probing = False

    @property
    def is_open(self) -> bool:
        """True while calls are refused."""
        return self._open_until is not None

    @property
    def is_doubtful(self) -> bool:
        """True after a failure, until a success or the opening of the circuit."""
        return self._failed > 0 and not self.is_open

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Run the block, which has a time limit of its own.

        Raises:
            RedisUnavailable: The block failed, or the circuit is open.
        """
        is_probe = self._admit()
        try:
            yield
        except _FAILURES as error:
            self._fail(error)
            raise RedisUnavailable(cause=type(error).__name__) from error
        finally:
            # A cancelled probe is inconclusive: the next call may probe.
            if is_probe:
                self._probing = False
        self._failed = 0
        if self.is_open:
            self._open_until = None
            logger.info("redis available")

    def _admit(self) -> bool:
        """Let a call through, and return whether it is the probe."""
        if self._open_until is None:
            return False
        if self._probing or self._clock() < self._open_until:
            raise RedisUnavailable(cause="circuit open")
        self._probing = True
        return True

    def _fail(self, error: Exception) -> None:
        self._failed += 1
        self.failures_total += 1
        if self._failed >= self._failures:
            if not self.is_open:
                logger.warning("redis unavailable", cause=type(error).__name__)
            self._open_until = self._clock() + self._seconds
