"""Files: upload, list, download and delete."""

from typing import Annotated
from uuid import UUID

from fastapi import Header, Path, Request, Response
from fastapi.responses import StreamingResponse

from app.api.deps.common import IfNoneMatch
from app.api.deps.files import (
    FileEditor,
    FileListDep,
    FileQueriesDep,
    FileServiceDep,
    FileViewer,
    NoIdempotencyDep,
    ReservationsDep,
    UploadsDep,
)
from app.api.deps.idempotency import IdempotencyDep
from app.api.schemas.files import (
    FileCreate,
    FilePage,
    FileResponse,
    LinkResponse,
    UploadCreate,
    UploadResponse,
)
from app.config import Settings
from app.core.errors import InvalidInput, UnsupportedContent
from app.core.storage import ObjectNotFound
from app.domain.files import (
    FileId,
    FileNotFound,
    FileTooLarge,
    FileTypeMismatch,
    IncomingFile,
    QuotaExceeded,
    TooManyUploads,
    UnsupportedFileType,
    UploadExpired,
    UploadIncomplete,
)
from app.infrastructure.http.downloads import (
    Download,
    RangeNotSatisfiable,
    attachment,
    is_current,
    requested_range,
)
from app.infrastructure.http.multipart import OVERHEAD_BYTES, uploaded_part
from app.infrastructure.http.problems import problems
from app.infrastructure.http.routes import (
    ATTACHMENT,
    FeatureRouter,
    created,
    location_of,
    replayable,
)
from app.infrastructure.http.schemas import EXAMPLE_ID, LINE

router = FeatureRouter(prefix="/files", tags=["files"])

TAG = {
    "name": "files",
    "description": "Files of any size, uploaded through the service or directly to the store.",
}


def body_limits(settings: Settings) -> dict[str, int]:
    """Return the size limits of the paths that have their own."""
    return {"/api/v1/files": settings.storage.max_file_bytes + OVERHEAD_BYTES}


FileIdPath = Annotated[UUID, Path(description="ID of the file.", examples=[EXAMPLE_ID])]
Range = Annotated[
    str | None,
    Header(
        alias="Range",
        max_length=64 * 1024,  # of all headers: a long one is ignored like any other
        pattern=LINE,
        description="A single byte range. Anything else returns the whole content.",
        examples=["bytes=0-1023"],
    ),
]
IfRange = Annotated[
    str | None,
    Header(
        alias="If-Range",
        max_length=1000,
        pattern=LINE,
        description="Apply `Range` only if the content still has this `ETag`.",
        examples=['"0dcb1d82"'],
    ),
]
_CONTENT_VERSION = {
    "ETag": {
        "description": "The SHA-256 of the whole content, in quotes.",
        "required": True,
        "schema": {"type": "string", "examples": ['"0dcb1d82"']},
    },
}
_CONTENT_HEADERS = {
    **_CONTENT_VERSION,
    **ATTACHMENT,
    "Accept-Ranges": {
        "description": "Ranges are supported (RFC 9110 §14.3).",
        "required": True,
        "schema": {"type": "string", "enum": ["bytes"], "examples": ["bytes"]},
    },
}
_CONTENT = {
    "application/octet-stream": {
        "schema": {"type": "string", "contentMediaType": "application/octet-stream"}
    }
}
_UPLOAD = {
    # The operation streams the body; as a parameter, FastAPI would read all of it first.
    "requestBody": {
        "required": True,
        "content": {"multipart/form-data": {"schema": FileCreate.model_json_schema()}},
    }
}


@router.post(
    "",
    status_code=201,
    summary="Upload a file",
    responses=problems(
        QuotaExceeded,
        TooManyUploads,
        UploadExpired,
        FileTooLarge,
        UnsupportedContent,
        UnsupportedFileType,
        FileTypeMismatch,
        InvalidInput,
    )
    | created("/api/v1/files"),
    openapi_extra=_UPLOAD,
)
async def upload_file(
    request: Request,
    owner: FileEditor,
    _: NoIdempotencyDep,
    uploads: UploadsDep,
    response: Response,
) -> FileResponse:
    """Upload a file through the service, as a single part named `file` with a file name.

    The content is verified while it is received; a rejected file is not stored. `Idempotency-Key`
    is not supported; use a direct upload if you need it.
    """
    part = await uploaded_part(request)
    length = request.headers.get("content-length")
    at_most = None if length is None else int(length)  # checked by a middleware
    incoming = IncomingFile(part.name, part.media_type, part.chunks, at_most)
    file = await uploads.upload(owner.id, incoming)
    response.headers["Location"] = location_of(request, file.id)
    return FileResponse.model_validate(file)


@router.get("", status_code=200, summary="List files")
async def list_files(owner: FileViewer, query: FileListDep, files: FileQueriesDep) -> FilePage:
    """List your files."""
    return FilePage.model_validate(await files.page(owner.id, query.sort, query.page()))


@router.post(
    "/uploads",
    status_code=201,
    summary="Create a direct upload",
    responses=problems(QuotaExceeded, TooManyUploads, FileTooLarge, UnsupportedFileType)
    | replayable(created("/api/v1/files")),
)
async def create_upload(
    request: Request,
    owner: FileEditor,
    _: IdempotencyDep,
    body: UploadCreate,
    reservations: ReservationsDep,
    response: Response,
) -> UploadResponse:
    """Announce a file, and get a signed request that uploads its content to the store.

    Send that request, then complete the upload. The announced size counts towards your quota until
    the upload expires. `Location` is the path of the file once the upload is complete. A response
    replayed for an `Idempotency-Key` contains the original request with its original expiry.
    """
    upload = await reservations.announce(owner.id, body.announced())
    path = request.scope["path"].removesuffix("/uploads")
    response.headers["Location"] = f"{path}/{upload.id}"
    return UploadResponse(
        id=upload.id,
        created_at=upload.created_at,
        method="PUT",
        url=upload.request.url,
        headers=upload.request.headers,
        expires_at=upload.expires_at,
    )


@router.post(
    "/uploads/{file_id}/complete",
    status_code=200,
    summary="Complete a direct upload",
    responses=problems(
        FileNotFound, UploadExpired, UploadIncomplete, UnsupportedFileType, FileTypeMismatch
    ),
)
async def complete_upload(
    owner: FileEditor, file_id: FileIdPath, uploads: UploadsDep
) -> FileResponse:
    """Complete a direct upload; the content must match the announcement. Idempotent."""
    return FileResponse.model_validate(await uploads.complete(owner.id, FileId(file_id)))


@router.get(
    "/{file_id}", status_code=200, summary="Get file metadata", responses=problems(FileNotFound)
)
async def get_file(owner: FileViewer, file_id: FileIdPath, files: FileQueriesDep) -> FileResponse:
    """Get the metadata of one of your files."""
    return FileResponse.model_validate(await files.one(owner.id, FileId(file_id)))


@router.get(
    "/{file_id}/content",
    status_code=200,
    summary="Download a file",
    response_class=StreamingResponse,
    responses={
        **problems(FileNotFound, ObjectNotFound),
        **RangeNotSatisfiable.documented(),
        200: {
            "description": "The whole content.",
            "content": _CONTENT,
            "headers": _CONTENT_HEADERS,
        },
        206: {
            "description": "The requested range.",
            "content": _CONTENT,
            "headers": _CONTENT_HEADERS,
        },
        304: {"description": "Not modified.", "headers": _CONTENT_VERSION},
    },
)
async def download_file(
    request: Request,
    owner: FileViewer,
    file_id: FileIdPath,
    files: FileServiceDep,
    if_none_match: IfNoneMatch = None,
    wanted: Range = None,
    if_range: IfRange = None,
) -> Response:
    """Download the content of one of your files, or a range of it, as an attachment."""
    file = await files.find(owner.id, FileId(file_id))
    headers = {"ETag": file.etag, "Cache-Control": "private, no-cache"}
    if is_current(if_none_match, file.etag):
        return Response(status_code=304, headers=headers)
    try:
        byte_range = requested_range(wanted, if_range, file.etag, file.size)
    except RangeNotSatisfiable as refused:
        return refused.response(request.scope)
    headers["Accept-Ranges"] = "bytes"
    headers["Content-Disposition"] = attachment(file.name)
    headers["Content-Length"] = str(byte_range.size if byte_range else file.size)
    if byte_range is not None:
        headers["Content-Range"] = f"bytes {byte_range.first}-{byte_range.last}/{file.size}"
    return Download(
        files.content(file, byte_range),
        status_code=200 if byte_range is None else 206,
        media_type=file.media_type,
        headers=headers,
    )


@router.get(
    "/{file_id}/link",
    status_code=200,
    summary="Get a link to a file",
    responses=problems(FileNotFound),
)
async def get_file_link(
    owner: FileViewer, file_id: FileIdPath, files: FileServiceDep
) -> LinkResponse:
    """Get a short-lived URL that downloads the content from the store without credentials."""
    file = await files.find(owner.id, FileId(file_id))
    return LinkResponse.model_validate(await files.link(file, attachment(file.name)))


@router.delete(
    "/{file_id}", status_code=204, summary="Delete a file", responses=problems(FileNotFound)
)
async def delete_file(owner: FileEditor, file_id: FileIdPath, files: FileServiceDep) -> None:
    """Delete one of your files, or cancel its upload.

    A cancelled direct upload counts towards your quota until its signed request expires.
    """
    await files.delete(owner.id, FileId(file_id))
