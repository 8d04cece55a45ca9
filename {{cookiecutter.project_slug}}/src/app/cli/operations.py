"""`app serve`, `app create-admin`, `app openapi` and `app prune`."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.runtime import (
    DATABASE,
    CommandFailed,
    bound_socket,
    echo_status,
    require_migrations,
    runtime,
    with_resources,
    writing,
)

if TYPE_CHECKING:
    from app.config import Settings
    from app.domain.users import UserProfile

GUNICORN = (sys.executable, "-m", "gunicorn", "-c", "python:app.gunicorn_config", "app.asgi:app")


def serve(
    *,
    skip_migration_check: Annotated[
        bool,
        typer.Option("--skip-migration-check", help="Start whatever the revision of the database."),
    ] = False,
) -> None:
    """Run the service for production, with gunicorn.

    Replaces this process. Configure it with settings such as APP_SERVER__PORT and
    APP_SERVER__WORKERS. Settings, signing keys, port and database revision are checked first.

    Example: APP_SERVER__PORT=8080 app serve
    """
    from app.config import load_settings
    from app.core.security.keys import load_signing_keys
    from app.infrastructure.database.migrations import check_revision

    settings = load_settings()
    load_signing_keys(settings.auth, development=settings.environment == "development")
    metrics = settings.metrics
    # Held meanwhile: the ports must differ.
    with bound_socket(settings.server.host, settings.server.port):
        if metrics.enabled and metrics.port is not None:
            bound_socket(metrics.host, metrics.port, "APP_METRICS__PORT").close()
    if not skip_migration_check:
        check = check_revision(settings.database.url.get_secret_value())
        if check.state != "current":
            raise CommandFailed(str(check))
        echo_status(str(check))
    os.execv(GUNICORN[0], GUNICORN)  # noqa: S606 - no shell, constant arguments


def _prompted(text: str, *, hidden: bool = False) -> Any:  # noqa: ANN401 - as Typer has it
    """Return an option that is prompted for if it is omitted."""
    return typer.Option(
        prompt=True,
        hide_input=hidden,
        confirmation_prompt=hidden,
        default_factory=lambda: None,  # otherwise help calls the option required
        show_default=False,
        help=f"{text} Prompted for if omitted.",
    )


def create_admin(
    *,
    email: Annotated[str, _prompted("E-mail address.")],
    username: Annotated[str, _prompted("Username.")],
    password: Annotated[
        str, _prompted("Password; as an option, it stays in the shell's history.", hidden=True)
    ],
) -> None:
    """Create an administrator.

    Example: app create-admin --email ada@example.com --username ada
    """
    with runtime(only=DATABASE) as settings:
        admin = register_admin(settings, email=email, username=username, password=password)
    typer.echo(f"Created the administrator {admin.username} <{admin.email}>.")


def register_admin(
    settings: "Settings", *, email: str, username: str, password: str
) -> "UserProfile":
    """Create an administrator, with the same rules as for any account."""
    from pydantic import ValidationError

    import app.models  # noqa: F401 - statements find tables by name
    from app.api.schemas.users import UserCreate
    from app.core.security.passwords import PasswordHasher
    from app.infrastructure.database import Database
    from app.repositories.users import UserRepository
    from app.services.users import register

    try:
        new = UserCreate.model_validate(
            {"email": email, "username": username, "password": password}
        )
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, at['loc']))}: {at['msg']}" for at in error.errors())
        raise CommandFailed("; ".join(faults)) from None

    async def run() -> "UserProfile":
        async with (
            Database.open(settings.database, pool_size=1) as database,
            PasswordHasher.open(settings.passwords) as hasher,
        ):
            await require_migrations(settings, database)
            async with database.transaction() as session:
                users = UserRepository(session)
                return await register(users, hasher, new.fields(), password, role="admin")

    return asyncio.run(run())


def openapi(
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Output file (default: stdout).")
    ] = None,
) -> None:
    """Print the OpenAPI document. Needs no server, database or settings.

    Example: app openapi -o openapi.json
    """
    from app.config import Settings
    from app.main import create_app

    document = json.dumps(create_app(Settings()).openapi(), indent=2, ensure_ascii=False)
    if output is None:
        typer.echo(document)
    else:
        with writing(output):
            output.write_text(f"{document}\n", encoding="utf-8")
        echo_status(f"Wrote {output}.")


def prune() -> None:
    """Delete expired data, and print counts. Schedule it daily.

    Example: app prune
    """
    from app.tasks.pruning import delete_expired

    with runtime() as settings:
        report = with_resources(settings, delete_expired)
    deleted = {name: number for name, number in report.items() if number}
    for name, number in deleted.items():
        typer.echo(f"{name.replace('_', ' ')}: {number} deleted")
    if not deleted:
        typer.echo("Nothing to delete.")
