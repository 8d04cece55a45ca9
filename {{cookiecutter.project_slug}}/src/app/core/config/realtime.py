"""Settings of live events."""

from typing import Annotated

from pydantic import Field

from app.core.config.base import SettingsGroup


class RealtimeSettings(SettingsGroup):
    """Live events over WebSockets."""

    queue_size: Annotated[int, Field(ge=8, le=100_000)] = 256
    """Messages queued for one connection. A client too slow for them is disconnected (4008)."""

    max_message_bytes: Annotated[int, Field(ge=256, le=1024**2)] = 16_384
    """Maximum size of a client's message, in bytes; a larger one closes the connection (1009)."""

    messages_per_second: Annotated[float, Field(gt=0, le=10_000)] = 10.0
    """Messages per second that a connection may send on average, in up to four frames each, pings
    and pongs included."""

    burst: Annotated[int, Field(ge=1, le=100_000)] = 30
    """Messages that a connection may send at once."""

    max_faults: Annotated[int, Field(ge=1, le=1000)] = 10
    """Invalid or excess messages of a connection that are answered with an error. One more closes
    it (1007 or 1008)."""

    connections_per_user: Annotated[int, Field(ge=1, le=100_000)] = 20
    """Connections of one user to one server process; further ones are refused (1013)."""

    connections: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """Connections to one server process; further ones are refused (1013). Raise the limit of open
    files (`ulimit -n`) above it."""

    recheck_seconds: Annotated[float, Field(gt=0, le=3600)] = 15.0
    """Seconds between two checks of connected users. A user who logged out, was deactivated or lost
    a permission is disconnected within this time (4001 or 4003)."""

    life_minutes: Annotated[float, Field(gt=0, le=1440)] = 60.0
    """Maximum lifetime of a connection, in minutes; then it is closed (4001), and the client
    reconnects with a new ticket. Bounds the use of a stolen token."""

    heartbeat_seconds: Annotated[float, Field(gt=0, le=600)] = 20.0
    """Seconds between two pings of a client."""

    heartbeat_timeout: Annotated[float, Field(gt=0, le=600)] = 20.0
    """Seconds that a client has to answer a ping before it is disconnected."""

    presence_limit: Annotated[int, Field(ge=0, le=10_000)] = 100
    """Members of a channel up to which each is listed and announced; above, only their number is:
    announcing everybody to everybody grows with its square."""

    presence_seconds: Annotated[float, Field(ge=1, le=3600)] = 30.0
    """Seconds after which the members of a killed server process are dropped."""

    def open_files(self, concurrency: int) -> int:
        """Return the number of connections."""
        return self.connections
