"""WebSockets in uvicorn, with limits for clients that stop reading or send too many frames.

Uvicorn waits until the client has read everything, even to close. Here a close is sent at once, and
a client that does not read it in time is disconnected: it would hold a socket, its buffers, and the
shutdown of the process.

A frame takes six bytes to send and a hundred times as long to parse. Uvicorn parses all that have
arrived, half a second's worth, and collects any number of empty fragments.

Uvicorn 0.54 keeps a connection open after the parser refused its handshake, and then fails an
assertion at shutdown. It fails another on frames before the end of the handshake, and logs errors
for text that is not UTF-8 and for handshakes that are answered with a response.
"""

from functools import partial
from typing import Any, Final

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode

from app.core.config.realtime import RealtimeSettings
from app.infrastructure.realtime.sockets import RateMeter

_SECONDS_TO_READ_THE_REST: Final = 5.0
_SLICE_BYTES: Final = 4096
_FRAMES_PER_MESSAGE: Final = 4
_BAD_REQUEST: Final = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def uvicorn_options(settings: RealtimeSettings) -> dict[str, Any]:
    """Return uvicorn's options for WebSockets.

    No compression: messages are small, and each connection would need a compressor.
    """
    return {
        "ws": partial(SocketProtocol, settings),
        "ws_max_size": settings.max_message_bytes,
        "ws_ping_interval": settings.heartbeat_seconds,
        "ws_ping_timeout": settings.heartbeat_timeout,
        "ws_per_message_deflate": False,
    }


class SocketProtocol(WebSocketsSansIOProtocol):
    """A WebSocket of the server."""

    def __init__(self, settings: RealtimeSettings, **options: Any) -> None:
        super().__init__(**options)
        # More than the application answers: it closes with the reason that fits.
        rate = settings.messages_per_second * _FRAMES_PER_MESSAGE
        burst = (settings.burst + settings.max_faults) * _FRAMES_PER_MESSAGE
        self._frames_left = RateMeter(rate, burst, self.loop.time())

    def data_received(self, data: bytes) -> None:
        """Handle data; answer a handshake that could not be parsed."""
        for start in range(0, len(data), _SLICE_BYTES):
            super().data_received(data[start : start + _SLICE_BYTES])
            if self.conn.handshake_exc is not None and not self.handshake_initiated:
                if not self.transport.is_closing():
                    self.transport.write(b"".join(self.conn.data_to_send()) or _BAD_REQUEST)
                self._end()
            if self.transport.is_closing():
                self._disconnect_later()
                return

    def handle_events(self) -> None:
        """Handle frames, unless there are too many: control frames and fragments count, too."""
        now = self.loop.time()
        if all(self._frames_left.allows(now) for _ in self.conn.events):
            super().handle_events()
        else:
            self.conn.fail(CloseCode.POLICY_VIOLATION, "too many frames")
            self.handle_parser_exception()

    def send_receive_event_to_app(self) -> None:
        """Pass a message on, unless it is a text that is not UTF-8."""
        if self.curr_msg_data_type == "text":
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self.conn.fail(CloseCode.INVALID_DATA, "invalid UTF-8")
                self.handle_parser_exception()
                return
        super().send_receive_event_to_app()

    def handle_parser_exception(self) -> None:
        """Close because of invalid data."""
        if self.conn.close_sent is None:
            # It came before the handshake was complete, or after the end.
            self.queue.put_nowait({"type": "websocket.disconnect", "code": 1002})
            self._end()
        else:
            super().handle_parser_exception()
            # To the application, which may be about to answer, the client has left.
            self.disconnected = True

    async def send(self, message: ASGISendEvent) -> None:
        """Send a message once the client has read enough, and a close at once."""
        if message["type"] != "websocket.close":
            await super().send(message)
            # After a response in place of the handshake, uvicorn would wait for the handshake.
            self.handshake_complete |= self.close_sent
            return
        self.writable.set()
        await super().send(message)
        self._disconnect_later()

    def shutdown(self) -> None:
        """Close because the process is shutting down (1012)."""
        super().shutdown()
        self._disconnect_later()

    def keepalive_timeout(self) -> None:
        """Close because a ping was not answered (1011)."""
        super().keepalive_timeout()
        self._disconnect_later()

    def _end(self) -> None:
        # Neither shutdown nor the application sends anything now.
        self.handshake_complete = self.close_sent = self.disconnected = True
        self.transport.close()

    def _disconnect_later(self) -> None:
        self.loop.call_later(_SECONDS_TO_READ_THE_REST, self.transport.abort)
