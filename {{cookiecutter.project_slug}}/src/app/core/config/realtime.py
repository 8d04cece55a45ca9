"""Settings of live events."""

from typing import Annotated

from pydantic import Field

from app.core.config.base import SettingsGroup


class RealtimeSettings(SettingsGroup):
    """How live events are delivered over WebSockets."""

    ticket_seconds: Annotated[int, Field(ge=5, le=300)] = 30
    """Seconds in which a ticket must be used."""

    queue_size: Annotated[int, Field(ge=8, le=100_000)] = 256
    """Messages that may wait for one connection. A client that reads too slowly for them is cut off
    (close code 4008)."""

    max_message_bytes: Annotated[int, Field(ge=256, le=1024**2)] = 16_384
    """Largest message of a client, in bytes; a larger one ends its connection (1009)."""

    messages_per_second: Annotated[float, Field(gt=0, le=10_000)] = 10.0
    """Messages that one connection may send in the long run."""

    burst: Annotated[int, Field(ge=1, le=100_000)] = 30
    """Messages that it may send at once, before the rate counts."""

    max_faults: Annotated[int, Field(ge=1, le=1000)] = 10
    """Messages of a connection that may be unreadable or too many, each answered by an error. One
    more ends it (1007 or 1008)."""

    connections_per_user: Annotated[int, Field(ge=1, le=100_000)] = 20
    """Connections of one user to one server process; one more is refused (1013)."""

    connections: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """Connections to one server process; one more is refused (1013). The process needs a limit of
    open files (`ulimit -n`) above it."""

    recheck_seconds: Annotated[float, Field(gt=0, le=3600)] = 15.0
    """Seconds between two looks at who is connected. Who has logged out, was deactivated or lost a
    permission is cut off that much later at the latest (4001 or 4003)."""

    life_minutes: Annotated[float, Field(gt=0, le=1440)] = 60.0
    """Life of a connection. Then it is closed (4001), and the client comes back with a new ticket:
    a stolen token is not good for longer."""

    heartbeat_seconds: Annotated[float, Field(gt=0, le=600)] = 20.0
    """Seconds between two pings of the server to each client."""

    heartbeat_timeout: Annotated[float, Field(gt=0, le=600)] = 20.0
    """Seconds in which the client must answer a ping; it is taken for dead otherwise."""

    close_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0
    """Seconds that a client has to take what is left for it when its connection is closed."""

    presence_limit: Annotated[int, Field(ge=0, le=10_000)] = 100
    """Members of a channel up to which each is named, and comings and goings are told; above, only
    their number is. Telling everybody of everybody takes the square of their number."""

    presence_seconds: Annotated[float, Field(ge=1, le=3600)] = 30.0
    """Seconds after which the members of a server process that was killed count as gone."""
