"""What the operations on files stand on."""

from typing import Annotated

from fastapi import Depends, Query, Security
from starlette.requests import Request

from app.api.deps.auth import get_principal
from app.api.deps.inline import on_loop
from app.api.deps.resources import ResourcesDep
from app.api.schemas.files import FileListQuery
from app.core.errors import DatabaseUnavailable
from app.core.storage import FileStoreUnavailable
from app.domain.auth import Principal
from app.domain.files import IdempotencyKeyNotTaken
from app.infrastructure.http.problems import raises
from app.services.direct_uploads import DirectUploads
from app.services.files import FileQueries, FileService
from app.wiring import files as wiring

FileViewer = Annotated[Principal, Security(get_principal, scopes=["files:read"])]
FileEditor = Annotated[Principal, Security(get_principal, scopes=["files:write"])]
FileListDep = Annotated[FileListQuery, Query()]


@on_loop
@raises(DatabaseUnavailable)
def get_file_queries(resources: ResourcesDep) -> FileQueries:
    """Return what reads the facts of files; stands on the resources, for each read is by itself."""
    return wiring.file_queries(resources.database)


@on_loop
@raises(DatabaseUnavailable, FileStoreUnavailable)
def get_file_service(resources: ResourcesDep) -> FileService:
    """Return what takes, gives and deletes files; stands on the resources.

    It opens its own transactions: a request that carries bytes must not keep a connection.
    """
    return wiring.file_service(resources)


@on_loop
@raises(DatabaseUnavailable, FileStoreUnavailable)
def get_direct_uploads(resources: ResourcesDep) -> DirectUploads:
    """Return what takes files past the service; stands on the resources.

    It opens its own transactions: a request that reads bytes must not keep a connection.
    """
    return wiring.direct_uploads(resources)


@on_loop
@raises(IdempotencyKeyNotTaken)
def refuse_idempotency_key(request: Request) -> None:
    """Refuse a promise that the operation does not give; stands on nothing.

    Raises:
        IdempotencyKeyNotTaken: The request has a key.
    """
    if "idempotency-key" in request.headers:
        raise IdempotencyKeyNotTaken


FileQueriesDep = Annotated[FileQueries, Depends(get_file_queries)]
FileServiceDep = Annotated[FileService, Depends(get_file_service)]
DirectUploadsDep = Annotated[DirectUploads, Depends(get_direct_uploads)]
NoIdempotencyDep = Annotated[None, Depends(refuse_idempotency_key)]


def announced_length(request: Request) -> int | None:
    """Return how many bytes the body has, if the request says so; the middleware has checked it."""
    length = request.headers.get("content-length")
    return None if length is None else int(length)
