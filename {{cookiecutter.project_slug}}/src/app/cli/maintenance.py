"""`app prune`: what a scheduler runs once a day."""

from dataclasses import asdict

import typer

from app import wiring
from app.cli.environment import surroundings, with_resources
from app.resources import Resources
from app.services.maintenance import PruneReport


def prune() -> None:
    """Delete what has expired: sessions, their tokens, counts of failed logins.

    Example: app prune
    """
    with surroundings() as settings:
        report = with_resources(settings, _prune)
    for name, rows in asdict(report).items():
        typer.echo(f"{name.replace('_', ' ')}: {rows} deleted")


async def _prune(resources: Resources) -> PruneReport:
    return await wiring.maintenance(resources).prune()
