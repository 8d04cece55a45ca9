"""Uvicorn's HTTP protocol, with limits for clients that send no request or read no response.

Uvicorn limits neither the size and duration of a request head nor the time that a client takes to
read, while the connection, the response and its resources stay in use. It parses all that has
arrived at once, pipelined requests included, reads more after each response, and keeps all fields
of a trailer.
"""

from asyncio import Handle, TimerHandle, Transport
from typing import Any, Final

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.core.config import HttpSettings

_MAX_HEAD_BYTES: Final = 64 * 1024
_MAX_FIELDS: Final = 200
# A read of 256 KiB may hold 14,000 requests or 40,000 chunks, which take up to half a second.
_SLICE_BYTES: Final = 4096
_TURN_SECONDS: Final = 0.001


class HttpProtocol(HttpToolsProtocol):
    """A connection of the server."""

    def __init__(self, settings: HttpSettings, **options: Any) -> None:
        super().__init__(**options)
        self._settings = settings
        self._abortion: TimerHandle | None = None
        self._head_bytes = 0
        self._unread = b""
        self._turn: Handle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Give the client some time to send a request."""
        super().connection_made(transport)
        self.flow = FlowControl(self)  # type: ignore[arg-type]  # it only pauses and resumes
        self.loop.call_later(self._settings.grace_seconds, self._require_request, None)

    def data_received(self, data: bytes) -> None:
        """Handle data, but no further requests while some wait for their response."""
        self._unread += data
        if self._turn is None:
            self._read_on()

    def pause_reading(self) -> None:
        """Stop receiving data."""
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Receive data, unless some is unread."""
        if not self._unread and not self.transport.is_closing():
            self.transport.resume_reading()

    def on_response_complete(self) -> None:
        """Go on with the next request."""
        super().on_response_complete()
        if self._unread and self._turn is None:
            self._turn = self.loop.call_soon(self._read_on)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field, unless it is part of a trailer, which nothing reads."""
        if self.scope is getattr(self.cycle, "scope", None):
            return
        if len(self.headers) >= _MAX_FIELDS:
            raise ValueError("too many header fields")
        super().on_header(name, value)

    def _read_on(self) -> None:
        """Parse unread data for a moment, then let other connections have their turn."""
        self._turn = None
        data, start, end = self._unread, 0, self.loop.time() + _TURN_SECONDS
        while start < len(data) and not self.pipeline:
            if start and self.loop.time() > end:
                self._turn = self.loop.call_soon(self._read_on)
                break
            if self not in self.connections or self.transport.is_closing():
                start = len(data)
                break
            self._parse(data[start : start + _SLICE_BYTES])
            start += _SLICE_BYTES
        self._unread = data[start:]
        if self._unread:
            self.pause_reading()
        elif not self.flow.read_paused:
            self.resume_reading()

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
