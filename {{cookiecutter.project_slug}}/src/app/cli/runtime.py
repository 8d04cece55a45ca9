"""Helpers for commands: output and errors, settings and servers, ports and processes.

Results go to standard output, everything else to standard error.
"""

import asyncio
import errno
import importlib.util
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import typer
from typer.core import TyperGroup

from app.core.errors import DomainError, OperatorError

if TYPE_CHECKING:
    from app.config import Settings
    from app.infrastructure.database import Database
    from app.resources import Resources

Result = TypeVar("Result")

DATABASE: Final = "APP_DATABASE__URL"
DEVELOPMENT_DIRECTORY: Final = Path(".dev")
"""Persistent data of development, outside version control."""


class CommandFailed(OperatorError):
    """A command failed for a known reason."""


class Commands(TyperGroup):
    """Commands that print known errors as one sentence and exit with 1."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - as Typer has it
        """Run a command."""
        try:
            return super().invoke(ctx)
        except typer.Abort:
            if sys.stdin.isatty():
                raise
            _fail("Input required; pass it as an option (see --help).")
        except OperatorError as error:
            _fail(str(error))
        except DomainError as error:
            reason = error.context.get("reason")
            # A field of a request is an option here.
            sentence = error.detail.removeprefix("body.")
            _fail(f"{sentence} ({reason})" if reason else sentence)


def _fail(sentence: str) -> None:
    typer.secho(f"Error: {sentence}", err=True, fg=typer.colors.RED)
    raise typer.Exit(1)


def echo_status(text: str) -> None:
    """Print a progress message to standard error."""
    typer.echo(text, err=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Explain why a file can't be written."""
    try:
        yield
    except OSError as error:
        raise CommandFailed(f"{path} can't be written: {error.strerror}.") from error


@contextmanager
def runtime(*, only: str | None = None) -> Iterator["Settings"]:
    """Yield the settings, with logging configured and all servers running.

    Development starts servers that are not configured, for as long as the block runs; several
    commands share them.

    Args:
        only: Variable of the one server to start, `DATABASE`.
    """
    from app.config import load_settings
    from app.core.logging import configure_logging

    settings = load_settings()
    configure_logging(settings.logging, production=settings.is_production, stream="stderr")
    if settings.environment != "development" or not has_development_servers():
        yield settings
        return
    if not Path("pyproject.toml").exists():
        raise CommandFailed("Run this in the project's directory, which has the data in .dev/.")
    from dev_servers import ServerUnavailable, backing_services

    with ExitStack() as stack:
        try:
            servers = stack.enter_context(backing_services(settings, DEVELOPMENT_DIRECTORY, only))
        except ServerUnavailable as error:
            raise CommandFailed(str(error)) from error
        for server in servers:
            echo_status(f"Using {server.source}.")
        yield load_settings()


def has_development_servers() -> bool:
    """Return whether the package is installed, which production lacks."""
    return importlib.util.find_spec("dev_servers") is not None


def with_resources(
    settings: "Settings", work: Callable[["Resources"], Awaitable[Result]]
) -> Result:
    """Run work with the resources of the service, if the database has all migrations."""
    from app.resources import open_resources
    from app.tasks import TASKS

    async def run() -> Result:
        async with open_resources(settings, TASKS) as resources:
            await require_migrations(settings, resources.database)
            return await work(resources)

    return asyncio.run(run())


async def require_migrations(settings: "Settings", database: "Database") -> None:
    """Refuse a database that lacks migrations or does not answer."""
    from app.infrastructure.database.migrations import check_revision

    await database.ping()
    check = await asyncio.to_thread(check_revision, settings.database.url.get_secret_value())
    # A database ahead of the code is normal during a deployment.
    if check.state == "behind":
        raise CommandFailed(str(check))


def bound_socket(host: str, port: int, variable: str = "APP_SERVER__PORT") -> socket.socket:
    """Bind a port (0 for any) before anything else starts."""
    try:
        family = socket.getaddrinfo(host, port, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        match error.errno:
            case errno.EADDRINUSE:
                reason = f"Port {port} on {host} is in use; set {variable} to another."
            case errno.EACCES:
                reason = f"Port {port} is privileged; use 1024 or higher."
            case _:
                reason = f"Can't listen on {host}, port {port}: {error.strerror}."
        raise CommandFailed(reason) from error


def end_with_parent() -> None:
    """End this process by SIGTERM when its parent ends, even if that is killed."""

    def wait() -> None:
        if parent := multiprocessing.parent_process():
            parent.join()
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="end-with-parent", daemon=True).start()
