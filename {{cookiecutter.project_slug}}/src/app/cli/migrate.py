"""`app migrate`: the schema of the database."""

import re
from typing import Annotated

import typer

from app.cli.environment import surroundings
from app.cli.output import CommandFailed, Commands, say
from app.config import Settings
from app.infrastructure.database import migrations
from app.infrastructure.database.migrations import RevisionState

app = typer.Typer(cls=Commands, rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def migrate(context: typer.Context) -> None:
    """Bring the schema of the database up to date, or see where it stands.

    Example: app migrate
    """
    if context.invoked_subcommand is None:
        up()


@app.command()
def up(
    revision: Annotated[str, typer.Argument(help="How far; head is the newest.")] = "head",
) -> None:
    """Apply migrations.

    Example: app migrate up
    """
    with surroundings() as settings:
        url = _url(settings)
        migrations.upgrade(url, revision, report=say)
        typer.echo(migrations.check_revision(url))


@app.command()
def down(
    *,
    to: Annotated[
        str | None, typer.Option(help="Id of the last revision to keep; base keeps none.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="How many to take back, without --to.")] = 1,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Take migrations back, with the data that only they hold.

    Example: app migrate down --steps 2
    """
    if not yes and not typer.confirm("This deletes data of columns and tables that go. Go on?"):
        raise CommandFailed("Nothing was taken back.")
    with surroundings() as settings:
        url = _url(settings)
        migrations.downgrade(url, to or f"-{steps}", report=say)
        typer.echo(migrations.check_revision(url))


@app.command()
def current() -> None:
    """Tell which revision the database is at, and which the code needs.

    Example: app migrate current
    """
    with surroundings() as settings:
        typer.echo(migrations.check_revision(_url(settings)))


@app.command()
def history() -> None:
    """List all migrations, newest first.

    Example: app migrate history
    """
    for revision, words in migrations.history():
        typer.echo(f"{revision}  {words}")


@app.command()
def check() -> None:
    """Fail unless the database is up to date and equals the models.

    Example: app migrate check
    """
    with surroundings() as settings:
        url = _url(settings)
        if (found := migrations.check_revision(url)).state is not RevisionState.CURRENT:
            raise CommandFailed(str(found))
        if differences := migrations.differences(url):
            lines = "".join(f"\n  {difference}" for difference in differences)
            raise CommandFailed(
                f"The models differ from the migrations; `app migrate new` writes the next.{lines}"
            )
    typer.echo("The database is up to date and equals the models.")


@app.command()
def new(
    message: Annotated[str, typer.Argument(help="What it does, in a few words.")],
    *,
    empty: Annotated[
        bool, typer.Option("--empty", help="Do not compare; you write it, about data say.")
    ] = False,
) -> None:
    """Write the migration that the models ask for; read it before use.

    Example: app migrate new "add a due date to items"
    """
    if not re.search(r"\w", message):
        raise CommandFailed("Say in a few words what the migration does: its file is named so.")
    if not message.isprintable() or "\\" in message or '"""' in message:
        raise CommandFailed(
            "Say it in one line, without backslashes and triple quotes: the file begins with it."
        )
    with surroundings() as settings:
        url = _url(settings)
        migrations.upgrade(url, report=say)
        typer.echo(f"Wrote {migrations.new(url, message, empty=empty)}.")


def _url(settings: Settings) -> str:
    return settings.database.url.get_secret_value()
