"""Which services there are in development, and the settings that say where they are."""

import importlib
import os
import pkgutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

import dev_servers
from dev_servers.server import Server
from dev_servers.service import Service

if TYPE_CHECKING:  # the servers start without the service
    from app.config import Settings


def services() -> tuple[Service, ...]:
    """Return the services there are: every module of this package that has a `SERVICE`."""
    modules = (
        importlib.import_module(f"dev_servers.{module.name}")
        for module in pkgutil.iter_modules(dev_servers.__path__)
    )
    return tuple(module.SERVICE for module in modules if hasattr(module, "SERVICE"))


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
        opened = {
            service: stack.enter_context(
                service.open(_configured(settings, service.variable), directory)
            )
            for service in services()
        }
        named: dict[str, str] = {}
        for service, server in opened.items():
            named |= {service.variable: server.url, **server.environment}
        os.environ.update(named)
        try:
            yield tuple(opened.values())
        finally:
            for variable in named:
                if variable in before:
                    os.environ[variable] = before[variable]
                else:
                    del os.environ[variable]


def _configured(settings: "Settings", variable: str) -> str | None:
    """The address that the settings were given, or None where they fell back on a default."""
    group, name = variable.removeprefix("APP_").lower().split("__")
    values = getattr(settings, group)
    if name not in values.model_fields_set:
        return None
    value = getattr(values, name)
    return str(value.get_secret_value() if isinstance(value, SecretStr) else value)
