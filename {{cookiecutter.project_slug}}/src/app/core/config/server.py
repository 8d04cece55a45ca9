"""Settings of the server processes."""

from typing import Annotated

from pydantic import Field

from app.core.config.base import SettingsGroup


class ServerSettings(SettingsGroup):
    """Where the service listens, and how much one process takes on."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Address to listen on. Containers need `0.0.0.0`."""

    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    """TCP port to listen on; 0 takes any that is free."""

    workers: Annotated[int, Field(ge=1, le=256)] = 2
    """Number of server processes."""

    concurrency: Annotated[int, Field(ge=1, le=10_000)] = 32
    """Number of requests that one process is expected to work on at once. The database pool has as
    many connections; what comes on top of that waits for one."""

    graceful_timeout: Annotated[int, Field(ge=1, le=600)] = 30
    """Seconds that requests in flight are given to finish when the service stops."""

    keep_alive: Annotated[int, Field(ge=1, le=600)] = 5
    """Seconds that an idle connection is kept open. A load balancer in front must keep it less."""

    timeout: Annotated[int, Field(ge=1, le=3600)] = 60
    """Seconds after which a process that gives no sign of life is replaced."""
