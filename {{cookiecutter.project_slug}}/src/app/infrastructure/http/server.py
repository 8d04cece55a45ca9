"""HTTP in uvicorn, with a minimum speed at which clients must read.

Uvicorn waits for a client that stops reading as long as it stays connected, even to close: it would
hold its connection, its response, and whatever that holds.
"""

from asyncio import TimerHandle
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.core.config import HttpSettings


class HttpProtocol(HttpToolsProtocol):
    """A connection of the server."""

    def __init__(self, settings: HttpSettings, **options: Any) -> None:
        super().__init__(**options)
        self._settings = settings
        self._abortion: TimerHandle | None = None

    def pause_writing(self) -> None:
        """Give the client some time to read."""
        super().pause_writing()
        self._abort_later()

    def resume_writing(self) -> None:
        """Continue to write."""
        super().resume_writing()
        self._cancel_abortion()

    def timeout_keep_alive_handler(self) -> None:
        """Close because the client is idle."""
        super().timeout_keep_alive_handler()
        self._abort_later()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the connection."""
        super().connection_lost(exc)
        self._cancel_abortion()

    def _abort_later(self) -> None:
        if self._abortion is None:
            unread = self.transport.get_write_buffer_size()
            seconds = self._settings.grace_seconds + unread / self._settings.min_bytes_per_second
            self._abortion = self.loop.call_later(seconds, self.transport.abort)

    def _cancel_abortion(self) -> None:
        if self._abortion is not None:
            self._abortion.cancel()
            self._abortion = None
