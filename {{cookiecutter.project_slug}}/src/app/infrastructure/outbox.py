"""Deferred writes to a server that is unavailable."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import structlog

logger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Delivery:
    """An action, the keys it concerns, and its deadline on the monotonic clock."""

    keys: tuple[str, ...]
    action: Callable[[], Awaitable[object]]
    deadline: float


class Outbox:
    """Runs actions at once, or keeps them in memory and retries until they succeed.

    Args:
        server: Name of the server in the log.
        unavailable: The error of an action while the server is unavailable.
        retry_seconds: Seconds between retries.
    """

    def __init__(self, server: str, unavailable: type[Exception], *, retry_seconds: float) -> None:
        self._server = server
        self._unavailable = unavailable
        self._retry_seconds = retry_seconds
        self._pending: dict[_Delivery, None] = {}
        self._keys: Counter[str] = Counter()
        self._retrying: asyncio.Task[None] | None = None

    @classmethod
    @asynccontextmanager
    async def open(
        cls, server: str, unavailable: type[Exception], *, retry_seconds: float
    ) -> AsyncIterator["Outbox"]:
        """Yield an outbox; afterwards, try a last time."""
        outbox = cls(server, unavailable, retry_seconds=retry_seconds)
        try:
            yield outbox
        finally:
            await outbox.close()

    def __contains__(self, key: str) -> bool:
        """Return whether a pending action concerns a key."""
        return key in self._keys

    def __len__(self) -> int:
        return len(self._pending)

    async def send(
        self, keys: Iterable[str], action: Callable[[], Awaitable[object]], *, seconds: float
    ) -> None:
        """Run an action now, or later if that fails or the caller is cancelled.

        Args:
            keys: Keys that it concerns.
            action: Must be idempotent.
            seconds: Time after which it no longer matters.
        """
        delivery = _Delivery(tuple(keys), action, time.monotonic() + seconds)
        self._pending[delivery] = None
        self._keys.update(delivery.keys)
        try:
            await self._deliver(delivery)
        except self._unavailable:
            logger.warning("delivery deferred", server=self._server, pending=len(self._pending))
        finally:
            if self._pending and (self._retrying is None or self._retrying.done()):
                self._retrying = asyncio.create_task(self._retry(), name=f"{self._server}-outbox")

    async def close(self) -> None:
        """Try a last time, and drop the rest."""
        if self._retrying is not None:
            self._retrying.cancel()
            with suppress(asyncio.CancelledError):
                await self._retrying
        with suppress(self._unavailable):
            await self._deliver_all()
        if self._pending:
            logger.error("deliveries lost", server=self._server, lost=len(self._pending))

    async def _retry(self) -> None:
        while self._pending:
            await asyncio.sleep(self._retry_seconds)
            with suppress(self._unavailable):
                await self._deliver_all()

    async def _deliver_all(self) -> None:
        # First come, first served.
        for delivery in list(self._pending):
            await self._deliver(delivery)

    async def _deliver(self, delivery: _Delivery) -> None:
        if time.monotonic() < delivery.deadline:
            await delivery.action()
        if delivery in self._pending:
            del self._pending[delivery]
            for key in delivery.keys:
                self._keys[key] -= 1
                if not self._keys[key]:
                    del self._keys[key]
