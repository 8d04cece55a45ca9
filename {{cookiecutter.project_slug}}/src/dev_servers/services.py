"""The servers of `app dev`, and the variables that name them."""

import importlib
import os
import pkgutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import dev_servers
from dev_servers.server import Server

if TYPE_CHECKING:  # the servers start without the service
    from app.config import Settings


def services() -> list[ModuleType]:
    """Return the modules of this package that have a `VARIABLE`: one per service."""
    modules = (
        importlib.import_module(f"dev_servers.{module.name}")
        for module in pkgutil.iter_modules(dev_servers.__path__)
    )
    return [module for module in modules if hasattr(module, "VARIABLE")]


@contextmanager
def backing_services(
    settings: "Settings", directory: Path, only: str | None = None
) -> Iterator[list[Server]]:
    """Start all services that the settings do not name, and name them in the environment.

    Settings that are loaded inside of the block, in this process or its children, have them.

    Args:
        settings: Settings loaded so far.
        directory: Location of the data, which are kept.
        only: Variable of the one service to start.

    Raises:
        ServerUnavailable: A server did not start.
    """
    before = dict(os.environ)
    servers: list[Server] = []
    with ExitStack() as stack:
        for service in services():
            if only not in {None, service.VARIABLE}:
                continue
            group, name = service.VARIABLE.removeprefix("APP_").lower().split("__")
            if name in getattr(settings, group).model_fields_set:
                servers.append(Server("", f"the {service.NAME} that {service.VARIABLE} names"))
                continue
            server = stack.enter_context(service.opened(directory))
            os.environ.update({service.VARIABLE: server.url, **server.environment})
            servers.append(server)
        try:
            yield servers
        finally:
            os.environ.clear()
            os.environ.update(before)
