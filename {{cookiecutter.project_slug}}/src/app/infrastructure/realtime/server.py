"""WebSockets in uvicorn, with a time limit for clients that stop reading.

Uvicorn waits until the client has read everything, even to close. Here a close is sent at once, and
a client that does not read it in time is disconnected: it would hold a socket, its buffers, and the
shutdown of the process.
"""

from typing import Any, Final

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from app.core.config.realtime import RealtimeSettings

_SECONDS_TO_READ_THE_REST: Final = 5.0


def uvicorn_options(settings: RealtimeSettings) -> dict[str, Any]:
    """Return uvicorn's options for WebSockets.

    No compression: messages are small, and each connection would need a compressor.
    """
    return {
        "ws": f"{__name__}:SocketProtocol",
        "ws_max_size": settings.max_message_bytes,
        "ws_ping_interval": settings.heartbeat_seconds,
        "ws_ping_timeout": settings.heartbeat_timeout,
        "ws_per_message_deflate": False,
    }


class SocketProtocol(WebSocketsSansIOProtocol):
    """A WebSocket of the server."""

    async def send(self, message: ASGISendEvent) -> None:
        """Send a message once the client has read enough, and a close at once."""
        if message["type"] != "websocket.close":
            await super().send(message)
            return
        self.writable.set()
        await super().send(message)
        self._disconnect_later()

    def shutdown(self) -> None:
        """Close because the process ends (1012)."""
        super().shutdown()
        self._disconnect_later()

    def keepalive_timeout(self) -> None:
        """Close because a ping was not answered (1011)."""
        super().keepalive_timeout()
        self._disconnect_later()

    def _disconnect_later(self) -> None:
        self.loop.call_later(_SECONDS_TO_READ_THE_REST, self.transport.abort)
