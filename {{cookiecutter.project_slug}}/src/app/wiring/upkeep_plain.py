"""What cleans up: expired rows."""

from app.resources import Resources
from app.services.maintenance import Maintenance


def maintenance(resources: Resources) -> Maintenance:
    """Return what cleans up."""
    return Maintenance(resources.database, resources.state.idempotency, resources.settings)
