"""What commands stand on: settings, and in development the servers that these leave open."""

import asyncio
import importlib.util
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, TypeVar

from app.cli.output import CommandFailed, say
from app.config import Settings, load_settings
from app.core.logging import configure_logging
from app.infrastructure.database.migrations import RevisionState, check_revision
from app.resources import Resources, open_resources

Result = TypeVar("Result")

DEVELOPMENT_DIRECTORY: Final = Path(".dev")
"""Where development keeps what must last, outside version control."""


@contextmanager
def surroundings() -> Iterator[Settings]:
    """Yield the settings, with every server that they name answering.

    In development, what is not configured is found or started for as long as the block runs. The
    same servers serve several commands at once.

    Raises:
        ConfigurationError: The settings won't do.
        CommandFailed: A server is not to be had.
    """
    settings = load_settings()
    configure_logging(settings.logging, production=settings.is_production, stream="stderr")
    logging.getLogger("alembic").setLevel(logging.WARNING)  # commands tell what it does themselves
    if settings.environment != "development" or not has_development_servers():
        yield settings
        return
    if not Path("pyproject.toml").exists():
        raise CommandFailed("Run this in the project's directory: its data are in .dev/ there.")
    # Not at the top: production is shipped without this package.
    from dev_servers import ServerUnavailable, backing_services  # noqa: PLC0415

    with ExitStack() as stack:
        try:
            servers = stack.enter_context(backing_services(settings, DEVELOPMENT_DIRECTORY))
        except ServerUnavailable as error:
            raise CommandFailed(str(error)) from error
        for server in servers:
            say(f"Using {server.source}.")
        yield load_settings()


def has_development_servers() -> bool:
    """Whether this is a development installation; production is shipped without the package."""
    return importlib.util.find_spec("dev_servers") is not None


def with_resources(settings: Settings, work: Callable[[Resources], Awaitable[Result]]) -> Result:
    """Do something with the resources of the service, and close them again.

    Raises:
        CommandFailed: The database lacks migrations.
        DatabaseUnavailable: It can't be reached.
    """

    async def run() -> Result:
        async with open_resources(settings) as resources:
            # First: a database that does not answer is none that lacks migrations.
            await resources.database.ping()
            url = settings.database.url.get_secret_value()
            check = await asyncio.to_thread(check_revision, url)
            # One that is ahead is for newer code, beside which this one runs for a while.
            if check.state is RevisionState.BEHIND:
                raise CommandFailed(str(check))
            return await work(resources)

    return asyncio.run(run())
