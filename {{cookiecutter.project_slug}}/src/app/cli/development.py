"""`app dev`: the service and everything it needs, on a machine with nothing but Python."""

import secrets
import string
from functools import partial
from pathlib import Path
from socket import socket
from typing import Annotated, Final

import typer
import uvicorn
from uvicorn.supervisors import ChangeReload

from app.cli.accounts import register_admin
from app.cli.companions import companions
from app.cli.environment import (
    DEVELOPMENT_DIRECTORY,
    has_development_servers,
    surroundings,
    with_resources,
)
from app.cli.output import CommandFailed, say
from app.cli.processes import end_with_parent
from app.cli.sockets import bound_socket
from app.config import Settings, load_settings
from app.core.errors import Conflict
from app.core.security.keys import write_private
from app.infrastructure.database import migrations
from app.infrastructure.http.openapi import DOCS_PATH
from app.infrastructure.serving import protocols

DEMO_EMAIL: Final = "demo@example.com"
DEMO_NAME: Final = "demo"
_SECONDS_TO_FINISH: Final = 3


def dev(
    *,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on. [default: APP_SERVER__HOST]")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="Port to listen on. [default: APP_SERVER__PORT]"),
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Make an administrator to try things with.")
    ] = False,
    reload: Annotated[
        bool, typer.Option(help="Start again whenever a source file changes.")
    ] = True,
) -> None:
    """Run the service for development, with all that it needs.

    What the settings do not name is found on this machine or made, and its data stay in .dev/ until
    you delete that directory. The database is migrated first.

    Example: app dev --demo
    """
    settings = load_settings()
    if settings.is_production:
        raise CommandFailed("`app dev` is for development; production runs `app serve`.")
    if not has_development_servers():
        raise CommandFailed(
            "`app dev` needs the development servers, and this installation is without them, as"
            " production is. Use `app serve`, or run `uv sync` in the project's directory."
        )
    with (
        bound_socket(
            host or settings.server.host, settings.server.port if port is None else port
        ) as listening,
        surroundings() as settings,
    ):
        migrations.upgrade(settings.database.url.get_secret_value(), report=say)
        if demo:
            _make_demo_admin(settings)
        address, number = listening.getsockname()[:2]
        with companions(settings, reload=reload):
            where = f"http://{address}:{number}"
            say(f"Serving on {where}, documentation at {DOCS_PATH}. Ctrl-C ends it.")
            _serve(listening, settings, reload=reload)


def _serve(listening: socket, settings: Settings, *, reload: bool) -> None:
    config = uvicorn.Config(
        "app.asgi:app",
        reload=reload,
        reload_dirs=[str(Path(__file__).parents[1])] if reload else None,
        log_config=None,  # the service configures logging
        access_log=False,  # and its middleware writes the line
        lifespan="on",
        timeout_graceful_shutdown=_SECONDS_TO_FINISH,
        **protocols(settings),
    )
    if reload:
        ChangeReload(config, target=partial(serve_with_parent, config), sockets=[listening]).run()
    else:
        uvicorn.Server(config).run(sockets=[listening])


def serve_with_parent(config: uvicorn.Config, sockets: list[socket] | None) -> None:
    """Serve, and end if the process that watches the files has been killed."""
    end_with_parent()
    uvicorn.Server(config).run(sockets=sockets)


def _make_demo_admin(settings: Settings) -> None:
    """Make the administrator once; its password lasts as long as the data do."""
    file = DEVELOPMENT_DIRECTORY / "demo-password"
    if not file.exists():
        write_private(file, _password())
    password = file.read_text()
    try:
        with_resources(
            settings,
            partial(register_admin, email=DEMO_EMAIL, username=DEMO_NAME, password=password),
        )
    except Conflict:
        say("The demo administrator is there already.")
    say(f"Log in as {DEMO_EMAIL} with the password {password}")


def _password() -> str:
    """A password with a letter of each case and a digit, as the rules ask for."""
    letters = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(16))
    return f"{secrets.choice(string.ascii_uppercase)}{letters}{secrets.choice(string.digits)}a"
