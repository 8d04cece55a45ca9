"""`app dev`: the service and everything it needs, without installing anything."""

import asyncio
import secrets
import signal
import string
from contextlib import suppress
from functools import partial
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from app.cli.operations import register_admin
from app.cli.runtime import (
    DEVELOPMENT_DIRECTORY,
    CommandFailed,
    bound_socket,
    echo_status,
    end_with_parent,
    has_development_servers,
    runtime,
)

# {%- if cookiecutter.use_arq +%}
from app.cli.worker import worker_process

# {%- endif +%}

if TYPE_CHECKING:
    import uvicorn

    from app.config import Settings

DEMO_EMAIL: Final = "demo@example.com"
DEMO_NAME: Final = "demo"


def dev(
    *,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on. [default: APP_SERVER__HOST]")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="Port to listen on. [default: APP_SERVER__PORT]"),
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Create an administrator.")] = False,
    reload: Annotated[bool, typer.Option(help="Restart when a source file changes.")] = True,
    fresh_database: Annotated[
        bool, typer.Option("--fresh-database", help="Delete all data in the database of .dev/.")
    ] = False,
) -> None:
    """Run the service for development, with all the servers it needs.

    Starts servers that are not configured, with their data in .dev/, and migrates the database
    first.

    Example: app dev --demo
    """
    from app.config import load_settings
    from app.infrastructure.database import migrations

    settings = load_settings()
    if settings.is_production:
        raise CommandFailed("`app dev` is for development; use `app serve` in production.")
    if not has_development_servers():
        raise CommandFailed(
            "The development servers are not installed. Run `uv sync` in the project's directory,"
            " or use `app serve`."
        )
    if fresh_database and "url" in settings.database.model_fields_set:
        raise CommandFailed(
            f"--fresh-database deletes only the database of {DEVELOPMENT_DIRECTORY}/, and"
            " APP_DATABASE__URL names another."
        )
    with (
        bound_socket(
            host or settings.server.host, settings.server.port if port is None else port
        ) as listening,
        runtime() as settings,
    ):
        url = settings.database.url.get_secret_value()
        if fresh_database:
            migrations.drop_all(url)
        migrations.upgrade(url, report=echo_status)
        if demo:
            _create_demo_admin(settings)
        options: dict[str, Any] = {"ws": "none"}
        # {% if cookiecutter.use_websockets %}
        from app.infrastructure.realtime.server import uvicorn_options

        options = uvicorn_options(settings.realtime)
        # {% endif %}
        _serve(listening, options, reload=reload)


def _serve(listening: socket, options: dict[str, Any], *, reload: bool) -> None:
    import uvicorn
    from uvicorn.supervisors import ChangeReload

    config = uvicorn.Config(
        "app.asgi:app",
        reload=reload,
        reload_dirs=[str(Path(__file__).parents[1])] if reload else None,
        log_config=None,  # the service configures logging
        access_log=False,  # its middleware logs requests
        lifespan="on",
        timeout_graceful_shutdown=3,
        **options,
    )
    if reload:
        ChangeReload(config, target=partial(serve_in_child, config), sockets=[listening]).run()
    else:
        serve_here(config, [listening])


def serve_in_child(config: "uvicorn.Config", sockets: list[socket] | None) -> None:
    """Serve until the process that watches the files ends, or ends this one."""
    end_with_parent()
    # uvicorn raises SIGTERM again when it has stopped; an exception lets `with` blocks end.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        serve_here(config, sockets)


def serve_here(config: "uvicorn.Config", sockets: list[socket] | None) -> None:
    """Serve in this process."""
    import uvicorn

    from app.infrastructure.http.openapi import DOCS_PATH

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started and sockets:
                host, port = sockets[0].getsockname()[:2]
                echo_status(
                    f"Serving on http://{host}:{port}, documentation at {DOCS_PATH}."
                    " Press Ctrl-C to stop."
                )
                await asyncio.to_thread(_report_schema)

    # {% if cookiecutter.use_arq %}
    with worker_process():
        Server(config).run(sockets=sockets)
    # {% else %}
    Server(config).run(sockets=sockets)
    # {% endif %}


def _report_schema() -> None:
    """Print how the database differs from the code: at each start, also after a reload."""
    from app.config import load_settings
    from app.core.errors import OperatorError
    from app.infrastructure.database import migrations

    try:
        fault = migrations.fault(load_settings().database.url.get_secret_value())
    except OperatorError as error:
        fault = str(error)
    if fault:
        typer.secho(fault, err=True, fg=typer.colors.YELLOW)


def _create_demo_admin(settings: "Settings") -> None:
    """Create the administrator once; its password is kept with the data."""
    from app.core.errors import Conflict
    from app.core.security.keys import write_private

    file = DEVELOPMENT_DIRECTORY / "demo-password"
    if not file.exists():
        # A letter of each case and a digit: composition rules may be on.
        letters = "".join(secrets.choice(string.ascii_letters) for _ in range(16))
        write_private(file, f"A{letters}{secrets.choice(string.digits)}a")
    password = file.read_text()
    try:
        register_admin(settings, email=DEMO_EMAIL, username=DEMO_NAME, password=password)
    except Conflict:
        echo_status("The demo administrator already exists.")
    echo_status(f"Log in as {DEMO_EMAIL} with the password {password}")
