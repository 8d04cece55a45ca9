"""Dependencies of the file routes: repositories, services, permissions."""

from typing import Annotated

from fastapi import Depends, Query, Security
from starlette.requests import Request

from app.api.deps.auth import get_principal
from app.api.deps.common import ReadSessionDep, ResourcesDep, SessionDep, limit_concurrency
from app.api.schemas.files import FileListQuery
from app.core.errors import DatabaseUnavailable, TooManyConcurrentRequests
from app.core.storage import FileStoreUnavailable
from app.domain.auth import Principal
from app.domain.files import IdempotencyKeyNotTaken
from app.infrastructure.http.problems import raises
from app.repositories.files import FileRepository
from app.repositories.users import UserRepository
from app.services.files import FileQueries, FileService
from app.services.uploads import Reservations, Uploads

FileViewer = Annotated[Principal, Security(get_principal, scopes=["files:read"])]
FileEditor = Annotated[Principal, Security(get_principal, scopes=["files:write"])]
FileListDep = Annotated[FileListQuery, Query()]


async def get_file_reader(session: ReadSessionDep) -> FileRepository:
    """Return the repository for reading."""
    return FileRepository(session)


async def get_file_queries(
    files: Annotated[FileRepository, Depends(get_file_reader)],
) -> FileQueries:
    """Return the service for reading."""
    return FileQueries(files)


@raises(DatabaseUnavailable, FileStoreUnavailable)
async def get_file_service(resources: ResourcesDep) -> FileService:
    """Return the service of downloads and deletion, which opens transactions of its own.

    A request that transfers bytes must not hold a connection.
    """
    return FileService(resources.database, resources.storage, resources.settings.storage)


@raises(DatabaseUnavailable, FileStoreUnavailable, TooManyConcurrentRequests)
async def get_uploads(request: Request, resources: ResourcesDep) -> Uploads:
    """Return the service of uploads, which opens transactions of its own.

    Raises:
        TooManyConcurrentRequests: The account has too many transfers in progress.
    """
    limit_concurrency(request, resources.transfer_limiter)
    return Uploads(resources.database, resources.storage, resources.settings.storage)


@raises(FileStoreUnavailable)
async def get_reservations(session: SessionDep, resources: ResourcesDep) -> Reservations:
    """Return the service of announcements, in the request's transaction."""
    files, users = FileRepository(session), UserRepository(session)
    return Reservations(files, users, resources.storage, resources.settings.storage)


@raises(IdempotencyKeyNotTaken)
async def refuse_idempotency_key(request: Request) -> None:
    """Refuse an idempotency key, which the operation does not support.

    Raises:
        IdempotencyKeyNotTaken: The request has a key.
    """
    if "idempotency-key" in request.headers:
        raise IdempotencyKeyNotTaken


FileQueriesDep = Annotated[FileQueries, Depends(get_file_queries)]
FileServiceDep = Annotated[FileService, Depends(get_file_service)]
UploadsDep = Annotated[Uploads, Depends(get_uploads)]
ReservationsDep = Annotated[Reservations, Depends(get_reservations)]
NoIdempotencyDep = Annotated[None, Depends(refuse_idempotency_key)]
