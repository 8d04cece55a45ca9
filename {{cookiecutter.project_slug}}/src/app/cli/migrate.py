"""`app migrate`: the schema of the database."""

import re
from typing import Annotated

import typer

from app.cli.runtime import DATABASE, CommandFailed, echo_status, runtime

app = typer.Typer(rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def migrate(context: typer.Context) -> None:
    """Migrate the database, or show its revision.

    Example: app migrate
    """
    if context.invoked_subcommand is None:
        up()


@app.command()
def up(
    revision: Annotated[str, typer.Argument(help="Target revision; head is the newest.")] = "head",
) -> None:
    """Apply migrations.

    Example: app migrate up
    """
    from app.infrastructure.database import migrations

    with runtime(only=DATABASE) as settings:
        url = settings.database.url.get_secret_value()
        migrations.upgrade(url, revision, report=echo_status)
        typer.echo(migrations.check_revision(url))


@app.command()
def down(
    *,
    to: Annotated[str | None, typer.Option(help="Last revision to keep; base keeps none.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Number of migrations, without --to.")] = 1,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
) -> None:
    """Revert migrations, deleting the data in dropped tables and columns.

    Example: app migrate down --steps 2
    """
    from app.infrastructure.database import migrations

    if not yes and not typer.confirm("This deletes the data of removed columns. Continue?"):
        raise CommandFailed("Downgrade cancelled.")
    with runtime(only=DATABASE) as settings:
        url = settings.database.url.get_secret_value()
        migrations.downgrade(url, to or f"-{steps}", report=echo_status)
        typer.echo(migrations.check_revision(url))


@app.command()
def current() -> None:
    """Show the revision of the database and the one the code needs.

    Example: app migrate current
    """
    from app.infrastructure.database import migrations

    with runtime(only=DATABASE) as settings:
        typer.echo(migrations.check_revision(settings.database.url.get_secret_value()))


@app.command()
def history() -> None:
    """List all migrations, newest first.

    Example: app migrate history
    """
    from app.infrastructure.database import migrations

    for revision, message in migrations.history():
        typer.echo(f"{revision}  {message}")


@app.command()
def check() -> None:
    """Fail unless the database is up to date and matches the models.

    Example: app migrate check
    """
    from app.infrastructure.database import migrations

    with runtime(only=DATABASE) as settings:
        if fault := migrations.fault(settings.database.url.get_secret_value()):
            raise CommandFailed(fault)
    typer.echo("The database is up to date and matches the models.")


@app.command()
def new(
    message: Annotated[str, typer.Argument(help="Summary of the migration.")],
    *,
    empty: Annotated[
        bool,
        typer.Option("--empty", help="Create an empty migration, e.g. for a data migration."),
    ] = False,
) -> None:
    """Write a migration from the models. Review it before use.

    Example: app migrate new "add a due date to invoices"
    """
    from app.infrastructure.database import migrations

    if not re.search(r"\w", message):
        raise CommandFailed("Summarize the migration in a few words, which become its file name.")
    if not message.isprintable() or "\\" in message or '"""' in message:
        raise CommandFailed(
            "Use one line without backslashes or triple quotes: it becomes a docstring."
        )
    with runtime(only=DATABASE) as settings:
        url = settings.database.url.get_secret_value()
        migrations.upgrade(url, report=echo_status)
        typer.echo(f"Wrote {migrations.new(url, message, empty=empty)}.")
