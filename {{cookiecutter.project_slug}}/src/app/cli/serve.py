"""`app serve`: the service for production."""

import os
import sys
from typing import Annotated

import typer

from app.cli.output import CommandFailed, say
from app.cli.sockets import bound_socket
from app.config import load_settings
from app.core.security.keys import load_signing_keys
from app.infrastructure.database.migrations import RevisionState, check_revision

COMMAND = (sys.executable, "-m", "gunicorn", "-c", "python:app.gunicorn_config", "app.asgi:app")


def serve(
    *,
    skip_migration_check: Annotated[
        bool,
        typer.Option(
            "--skip-migration-check", help="Start even if the database is not at this revision."
        ),
    ] = False,
) -> None:
    """Run the service for production: gunicorn with its workers, in place of this process.

    Everything is a setting (APP_SERVER__HOST, APP_SERVER__PORT, APP_SERVER__WORKERS and more). The
    settings, the signing keys, the port and the schema of the database are checked first.

    Example: APP_SERVER__PORT=8080 app serve
    """
    settings = load_settings()
    load_signing_keys(settings.auth, development=settings.environment == "development")
    bound_socket(settings.server.host, settings.server.port).close()
    if not skip_migration_check:
        check = check_revision(settings.database.url.get_secret_value())
        if check.state is not RevisionState.CURRENT:
            raise CommandFailed(str(check))
        say(str(check))
    os.execv(COMMAND[0], COMMAND)  # noqa: S606 - no shell, and nothing but our own words
