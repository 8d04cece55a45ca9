"""`app prune`: what a scheduler runs once a day."""

from dataclasses import asdict

import typer

from app import wiring
from app.cli.environment import surroundings, with_resources
from app.resources import Resources
from app.services.maintenance import PruneReport


def prune() -> None:
    """Delete what has expired or was left behind, and say of what there was how much.

    Example: app prune
    """
    with surroundings() as settings:
        report = with_resources(settings, _prune)
    counts = asdict(report)
    swept = counts.pop("swept")
    found = {name: number for name, number in {**counts, **swept}.items() if number}
    for name, number in found.items():
        typer.echo(f"{name.replace('_', ' ')}: {number} deleted")
    if not found:
        typer.echo("There was nothing to delete.")


async def _prune(resources: Resources) -> PruneReport:
    return await wiring.maintenance(resources).prune()
