"""What is to be cleaned up besides expired rows."""

from app.resources import Resources
from app.services.maintenance import Sweep
from app.wiring.files import file_sweep


def sweeps(resources: Resources) -> tuple[Sweep, ...]:
    """Return what else maintenance runs, in this order."""
    return (file_sweep(resources),)
