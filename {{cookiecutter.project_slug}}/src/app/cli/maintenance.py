"""`app prune`: what a scheduler runs once a day."""

from dataclasses import asdict

import typer

from app.cli.environment import surroundings, with_resources
from app.resources import Resources
from app.services.maintenance import PruneReport
from app.wiring.upkeep import maintenance


def prune() -> None:
    """Delete what has expired or was left behind, and say of what there was how much.

    Example: app prune
    """
    with surroundings() as settings:
        report = with_resources(settings, _prune)
    found = {name: number for name, number in asdict(report).items() if number}
    for name, number in found.items():
        typer.echo(f"{name.replace('_', ' ')}: {number} deleted")
    if not found:
        typer.echo("There was nothing to delete.")


async def _prune(resources: Resources) -> PruneReport:
    return await maintenance(resources).prune()
