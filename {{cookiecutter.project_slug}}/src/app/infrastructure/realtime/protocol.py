"""WebSockets on the wire: uvicorn's, but for clients that take nothing any more.

Uvicorn waits with everything until the client has read what was sent before, with closing, too.
Here a close goes out at once, behind what is left; and who does not take that within a time limit
is disconnected, instead of keeping a socket, its buffers and the end of the process waiting.
"""

from typing import Final

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

_SECONDS_TO_TAKE_THE_REST: Final = 5.0


class SocketProtocol(WebSocketsSansIOProtocol):
    """One WebSocket of the server."""

    async def send(self, message: ASGISendEvent) -> None:
        """Send a message once the client has room for it, and a close at once."""
        if message["type"] != "websocket.close":
            await super().send(message)
            return
        self.writable.set()
        await super().send(message)
        self._disconnect_later()

    def shutdown(self) -> None:
        """Close the WebSocket because the process ends (1012)."""
        super().shutdown()
        self._disconnect_later()

    def keepalive_timeout(self) -> None:
        """Close the WebSocket because a ping was not answered (1011)."""
        super().keepalive_timeout()
        self._disconnect_later()

    def _disconnect_later(self) -> None:
        self.loop.call_later(_SECONDS_TO_TAKE_THE_REST, self.transport.abort)
