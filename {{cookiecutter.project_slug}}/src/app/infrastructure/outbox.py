"""What must reach a server, if not now, then as soon as it is back."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import structlog

Action = Callable[[], Awaitable[object]]
logger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Letter:
    """Something to do.

    Attributes:
        keys: What it concerns.
        action: Does it, and can be repeated.
        until: When it no longer matters, on the monotonic clock.
    """

    keys: tuple[str, ...]
    action: Action
    until: float


class Outbox:
    """Does things at once, or keeps them in memory and tries again until they are done.

    Args:
        server: What it is for, in the log.
        unavailable: What an action raises while the server is away.
        retry_seconds: How long it waits between two tries.
    """

    def __init__(self, server: str, unavailable: type[Exception], *, retry_seconds: float) -> None:
        self._server = server
        self._unavailable = unavailable
        self._retry_seconds = retry_seconds
        self._letters: dict[_Letter, None] = {}
        self._concerned: dict[str, int] = {}
        self._trying: asyncio.Task[None] | None = None

    @classmethod
    @asynccontextmanager
    async def open(
        cls, server: str, unavailable: type[Exception], *, retry_seconds: float
    ) -> AsyncIterator["Outbox"]:
        """Yield one, and try a last time afterwards what is left."""
        outbox = cls(server, unavailable, retry_seconds=retry_seconds)
        try:
            yield outbox
        finally:
            await outbox.close()

    def __contains__(self, key: str) -> bool:
        """Whether something is still to be done that concerns a key."""
        return key in self._concerned

    def __len__(self) -> int:
        return len(self._letters)

    async def send(self, keys: Iterable[str], action: Action, *, seconds: float) -> None:
        """Do something, now or later; later, if that fails or if the caller is cancelled.

        Args:
            keys: What it concerns.
            action: Does it; a second time does no harm.
            seconds: How long it matters.
        """
        letter = _Letter(tuple(keys), action, time.monotonic() + seconds)
        self._letters[letter] = None
        for key in letter.keys:
            self._concerned[key] = self._concerned.get(key, 0) + 1
        try:
            await self._deliver(letter)
        except self._unavailable:
            logger.warning("kept for later", server=self._server, waiting=len(self._letters))
        finally:
            if self._letters and (self._trying is None or self._trying.done()):
                self._trying = asyncio.create_task(
                    self._try_until_done(), name=f"{self._server}-outbox"
                )

    async def close(self) -> None:
        """Try a last time, and forget the rest, which goes to the log."""
        if self._trying is not None:
            self._trying.cancel()
            with suppress(asyncio.CancelledError):
                await self._trying
        with suppress(self._unavailable):
            await self._deliver_all()
        if self._letters:
            logger.error("not delivered", server=self._server, lost=len(self._letters))

    async def _try_until_done(self) -> None:
        while self._letters:
            await asyncio.sleep(self._retry_seconds)
            with suppress(self._unavailable):
                await self._deliver_all()

    async def _deliver_all(self) -> None:
        # In order: what was asked for first is done first.
        for letter in list(self._letters):
            await self._deliver(letter)

    async def _deliver(self, letter: _Letter) -> None:
        if time.monotonic() < letter.until:
            await letter.action()
        if letter in self._letters:
            del self._letters[letter]
            for key in letter.keys:
                self._concerned[key] -= 1
                if not self._concerned[key]:
                    del self._concerned[key]
