"""What files are made of."""

from app.infrastructure.database.statements import Lookups
from app.repositories.files import FileReader
from app.resources import Resources
from app.services.direct_uploads import DirectUploads
from app.services.file_lifecycle import FileLifecycle
from app.services.file_sweep import FileSweep
from app.services.files import FileQueries, FileService


def file_queries(source: Lookups) -> FileQueries:
    """Return what reads what is known of files."""
    return FileQueries(FileReader(source))


def file_service(resources: Resources) -> FileService:
    """Return what takes, gives and deletes files, in transactions of its own."""
    return FileService(
        database=resources.database,
        storage=resources.storage,
        direct=resources.storage,
        lifecycle=_file_lifecycle(resources),
        settings=resources.settings.storage,
    )


def direct_uploads(resources: Resources) -> DirectUploads:
    """Return what takes files past the service, in transactions of its own."""
    return DirectUploads(
        database=resources.database,
        storage=resources.storage,
        direct=resources.storage,
        lifecycle=_file_lifecycle(resources),
        settings=resources.settings.storage,
    )


def file_sweep(resources: Resources) -> FileSweep:
    """Return what removes what crashes have left of files."""
    return FileSweep(resources.database, resources.storage, resources.settings.storage)


def _file_lifecycle(resources: Resources) -> FileLifecycle:
    return FileLifecycle(resources.database, resources.storage, resources.settings.storage)
