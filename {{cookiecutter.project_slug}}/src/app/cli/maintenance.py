"""`app prune`: run it once a day."""

import typer

from app.cli.environment import surroundings, with_resources
from app.resources import Resources


def prune() -> None:
    """Delete expired rows and orphaned files, and print counts.

    Example: app prune
    """
    with surroundings() as settings:
        report = with_resources(settings, Resources.prune)
    deleted = {name: number for name, number in report.items() if number}
    for name, number in deleted.items():
        typer.echo(f"{name.replace('_', ' ')}: {number} deleted")
    if not deleted:
        typer.echo("There was nothing to delete.")
