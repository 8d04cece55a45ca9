"""Which protocols the server speaks beside HTTP."""

from typing import Any

from app.config import Settings


def protocols(settings: Settings) -> dict[str, Any]:
    """Return the options of uvicorn for them, the same in production and in development.

    Messages are small, and a compressor for each connection would take more memory than all else.
    """
    realtime = settings.realtime
    return {
        "ws": "app.infrastructure.realtime.protocol:SocketProtocol",
        "ws_max_size": realtime.max_message_bytes,
        "ws_ping_interval": realtime.heartbeat_seconds,
        "ws_ping_timeout": realtime.heartbeat_timeout,
        "ws_per_message_deflate": False,
    }
