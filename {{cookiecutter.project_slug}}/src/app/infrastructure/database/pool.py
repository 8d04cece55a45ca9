"""A pool that serves requests in order of arrival.

SQLAlchemy's pool gives a free connection to whichever request asks next: under load, new requests
overtake those that wait, until these time out.
"""

import asyncio
from collections import deque
from functools import cached_property
from typing import Any, cast

from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlalchemy.util.queue import AsyncAdaptedQueue


class FairQueue(asyncio.Queue[Any]):
    """A queue that hands a connection to the task that has waited longest."""

    def __init__(self, maxsize: int = 0) -> None:
        super().__init__(maxsize)
        self._waiting: deque[asyncio.Future[Any]] = deque()

    @property
    def waiting(self) -> int:
        """Return the number of tasks that wait."""
        return sum(not waiter.done() for waiter in self._waiting)

    def put_nowait(self, item: Any) -> None:  # noqa: ANN401 - as the parent has it
        """Hand a connection over, or store it if no task waits."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(item)
                return
        super().put_nowait(item)

    async def get(self) -> Any:  # noqa: ANN401 - as the parent has it
        """Return a connection, or wait for one."""
        if not self.empty():
            return self.get_nowait()
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            return await waiter
        except BaseException:
            if not waiter.cancel():
                # Cancelled after it was given a connection: the next task gets it.
                self.put_nowait(waiter.result())
            raise


class _Connections(AsyncAdaptedQueue[Any]):
    @cached_property
    def _queue(self) -> FairQueue:
        return FairQueue(self.maxsize)

    @property
    def waiting(self) -> int:
        return self._queue.waiting


class FairPool(AsyncAdaptedQueuePool):
    """A pool that gives connections to requests in order of arrival."""

    _queue_class = _Connections

    @property
    def waiting(self) -> int:
        """Return the number of tasks that wait for a connection."""
        return cast("_Connections", self._pool).waiting
