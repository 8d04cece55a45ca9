"""What is to be cleaned up besides expired rows."""

from app.resources import Resources
from app.services.maintenance import Sweep


def sweeps(resources: Resources) -> tuple[Sweep, ...]:
    """Return what else maintenance runs: nothing."""
    del resources
    return ()
