"""What cleans up: expired rows, and what crashes have left of files."""

from app.resources import Resources
from app.services.file_sweep import FileMaintenance
from app.services.maintenance import Maintenance
from app.wiring.files import file_sweep


def maintenance(resources: Resources) -> FileMaintenance:
    """Return what cleans up."""
    rows = Maintenance(resources.database, resources.state.idempotency, resources.settings)
    return FileMaintenance(rows, file_sweep(resources))
