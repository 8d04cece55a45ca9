"""Which services there are in development, and the settings that say where they are."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dev_servers import database
from dev_servers.server import Server

if TYPE_CHECKING:  # the servers start without the service
    from app.core.config import Settings


@dataclass(frozen=True, slots=True)
class Service:
    """One service that the application stands on.

    Attributes:
        variable: The setting that holds its address, as the environment spells it.
        open: Given the address, if one is configured, and a directory for data that last: makes
            sure that the service answers as long as the block runs.
    """

    variable: str
    open: Callable[[str | None, Path], AbstractContextManager[Server]]


SERVICES = (Service("APP_DATABASE__URL", database.development_server),)


@contextmanager
def backing_services(settings: "Settings", directory: Path) -> Iterator[tuple[Server, ...]]:
    """Find or start all services, and have the environment name them, while the block runs.

    Settings that are loaded inside of the block, by this process or by those that it starts, hold
    the addresses.

    Args:
        settings: The settings so far; what they name themselves is used, and nothing started.
        directory: Where the data of servers that are started here stay.

    Raises:
        ServerUnavailable: One of them is not to be had.
    """
    before = dict(os.environ)
    with ExitStack() as stack:
        servers = tuple(
            stack.enter_context(service.open(_configured(settings, service.variable), directory))
            for service in SERVICES
        )
        for service, server in zip(SERVICES, servers, strict=True):
            os.environ[service.variable] = server.url
        try:
            yield servers
        finally:
            for service in SERVICES:
                if service.variable in before:
                    os.environ[service.variable] = before[service.variable]
                else:
                    del os.environ[service.variable]


def _configured(settings: "Settings", variable: str) -> str | None:
    """The address that the settings were given, or None where they fell back on a default."""
    group, name = variable.removeprefix("APP_").lower().split("__")
    values = getattr(settings, group)
    return getattr(values, name).get_secret_value() if name in values.model_fields_set else None
