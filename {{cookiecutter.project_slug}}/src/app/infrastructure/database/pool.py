"""Connections in the order of asking.

SQLAlchemy's pool gives a free connection to whoever asks at that moment. When all are busy, that is
a request that has just come, again and again, while others have waited for seconds until they are
refused. Here a connection goes to the one that has waited longest: where clients are more than
connections, all of them wait alike.
"""

import asyncio
from collections import deque
from functools import cached_property
from typing import Any

from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlalchemy.util.queue import AsyncAdaptedQueue


class FairQueue(asyncio.Queue[Any]):
    """A queue that hands what is put into it to the one that has waited longest."""

    def __init__(self, maxsize: int = 0) -> None:
        super().__init__(maxsize)
        self._waiting: deque[asyncio.Future[Any]] = deque()

    def put_nowait(self, item: Any) -> None:  # noqa: ANN401 - as the parent has it
        """Hand it over, or keep it if nobody waits.

        Raises:
            asyncio.QueueFull: There is no room for it.
        """
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(item)
                return
        super().put_nowait(item)

    async def get(self) -> Any:  # noqa: ANN401 - as the parent has it
        """Return what is there, or wait for one's turn."""
        if not self.empty():
            return self.get_nowait()
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            return await waiter
        except BaseException:
            if not waiter.cancel():
                # It came at the same moment: whoever is next shall have it.
                self.put_nowait(waiter.result())
            raise


class _Connections(AsyncAdaptedQueue[Any]):
    @cached_property
    def _queue(self) -> FairQueue:
        return FairQueue(self.maxsize)


class FairPool(AsyncAdaptedQueuePool):
    """A pool whose connections are given in the order of asking."""

    _queue_class = _Connections
