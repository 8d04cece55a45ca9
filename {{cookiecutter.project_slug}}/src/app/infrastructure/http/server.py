"""Uvicorn's HTTP protocol, with limits for clients that send no request or read no response.

Uvicorn limits neither the size and duration of a request head nor the time that a client takes to
read, while the connection, the response and its resources stay in use. It parses all pipelined
requests that have arrived, reads more after each response, and keeps all fields of a trailer.
"""

from asyncio import TimerHandle, Transport
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.core.config import HttpSettings

_MAX_HEAD_BYTES: Final = 64 * 1024
_MAX_FIELDS: Final = 200
# Bytes parsed at once: a read of 256 KiB may hold 14,000 requests, which take half a second.
_SLICE_BYTES: Final = 4096


class HttpProtocol(HttpToolsProtocol):
    """A connection of the server."""

    def __init__(self, settings: HttpSettings, **options: Any) -> None:
        super().__init__(**options)
        self._settings = settings
        self._abortion: TimerHandle | None = None
        self._head_bytes = 0
        self._unread = b""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Give the client some time to send a request."""
        super().connection_made(transport)
        self.loop.call_later(self._settings.grace_seconds, self._require_request, None)

    def data_received(self, data: bytes) -> None:
        """Handle data, but no further requests while some wait for their response."""
        data, self._unread = self._unread + data, b""
        for start in range(0, len(data), _SLICE_BYTES):
            if self not in self.connections or self.transport.is_closing():
                return
            if self.pipeline:
                self._unread = data[start:]
                self.flow.pause_reading()
                return
            self._parse(data[start : start + _SLICE_BYTES])

    def on_response_complete(self) -> None:
        """Go on with the next request."""
        super().on_response_complete()
        if self._unread:
            self.data_received(b"")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field, unless it is part of a trailer, which nothing reads."""
        if self.scope is getattr(self.cycle, "scope", None):
            return
        if len(self.headers) >= _MAX_FIELDS:
            raise ValueError("too many header fields")
        super().on_header(name, value)

    def _parse(self, data: bytes) -> None:
        """Parse data, and refuse a head that does not end."""
        head = self.scope
        super().data_received(data)
        if head is not self.scope or head is getattr(self.cycle, "scope", None):
            self._head_bytes = 0
            return
        self._head_bytes += len(data)
        if self._head_bytes > _MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("Request head too large.")

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

    def _require_request(self, last: object) -> None:
        """Disconnect the client if it has sent no complete head since the last check."""
        if self not in self.connections:  # closed, or served by another protocol
            return
        is_answered = getattr(self.cycle, "response_complete", True)
        is_waiting = is_answered and self.timeout_keep_alive_task is None
        if is_waiting and last is self.cycle:
            self.transport.abort()
            return
        # A timer per connection costs less than one per request.
        last = self.cycle if is_waiting else self
        self.loop.call_later(self._settings.grace_seconds, self._require_request, last)

    def _abort_later(self) -> None:
        if self._abortion is None:
            unread = self.transport.get_write_buffer_size()
            seconds = self._settings.grace_seconds + unread / self._settings.min_bytes_per_second
            self._abortion = self.loop.call_later(seconds, self.transport.abort)

    def _cancel_abortion(self) -> None:
        if self._abortion is not None:
            self._abortion.cancel()
            self._abortion = None
