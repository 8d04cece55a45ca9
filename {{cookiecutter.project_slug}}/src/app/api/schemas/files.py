"""Requests and responses about files."""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from app.domain.files import LONGEST_NAME, AnnouncedFile, FileSort
from app.infrastructure.http.schemas import (
    VISIBLE_LINE,
    InputModel,
    Page,
    PageQuery,
    ResourceResponse,
    ResponseModel,
    is_a_number,
)

_LARGEST: Final = 5 * 1024**3
_EXAMPLE: Final = "Note G, with a table.\n"
_EXAMPLE_HASH: Final = "0dcb1d82b8b7a0d3a7d1d1f3a1a2a41d1a44b6b5ad1bb4cdc93d8a4b8c1a2e21"
_EXAMPLE_URL: Final = "https://s3.example.com/app/files/01976d5e?X-Amz-Signature=9f2c"

Sha256 = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-f]{64}$", max_length=64),
    Field(description="SHA-256 of the content, in hexadecimal.", examples=[_EXAMPLE_HASH]),
]


class FileCreate(InputModel):
    """A file, as `multipart/form-data`: one part with a file name."""

    file: str = Field(
        min_length=1,
        max_length=_LARGEST,
        description="File, with a name and a `Content-Type` that matches its content.",
        examples=[_EXAMPLE],
        json_schema_extra={"contentMediaType": "application/octet-stream"},
    )


class UploadCreate(InputModel):
    """A file to upload directly."""

    name: Annotated[str, StringConstraints(max_length=LONGEST_NAME, pattern=VISIBLE_LINE)] = Field(
        min_length=1, description="Name.", examples=["note.txt"]
    )
    media_type: str = Field(
        min_length=3,
        max_length=127,
        pattern=r"^[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+$",
        description="Media type; must match the content.",
        examples=["text/plain"],
    )
    size: Annotated[int, BeforeValidator(is_a_number)] = Field(
        ge=1, le=_LARGEST, description="Size in bytes.", examples=[22]
    )
    sha256: Sha256

    def announced(self) -> AnnouncedFile:
        """Return the announced file."""
        return AnnouncedFile(self.name, self.media_type, self.size, self.sha256)


class FileResponse(ResourceResponse):
    """Metadata of a file."""

    name: str = Field(description="Name.", examples=["note.txt"])
    media_type: str = Field(description="Media type.", examples=["text/plain"])
    size: int = Field(description="Size in bytes.", examples=[22])
    sha256: str = Field(
        description="SHA-256 of the content, in hexadecimal.", examples=[_EXAMPLE_HASH]
    )


class FilePage(Page[FileResponse]):
    """A page of files."""


class FileListQuery(PageQuery):
    """Order of the list."""

    sort: FileSort = Field(
        "-created_at",
        description="Field to sort by; prefix it with `-` for descending order.",
        examples=["name"],
    )


class UploadResponse(ResourceResponse):
    """A pending file, and the request that uploads its content."""

    method: Literal["PUT"] = Field(description="Method of the request.", examples=["PUT"])
    url: str = Field(
        description="URL of the request. It includes the credentials: keep it secret.",
        examples=[_EXAMPLE_URL],
    )
    headers: dict[str, str] = Field(
        description="Headers of the request; send them unchanged, with the content as the body.",
        examples=[{"Content-Length": "22", "Content-Type": "text/plain"}],
    )
    expires_at: datetime = Field(description="Expiry, in UTC.", examples=["2026-11-21T10:45:00Z"])


class LinkResponse(ResponseModel):
    """A URL of a file's content."""

    url: str = Field(
        description="URL of the content. It includes the credentials: keep it secret.",
        examples=[_EXAMPLE_URL],
    )
    expires_at: datetime = Field(description="Expiry, in UTC.", examples=["2026-11-21T10:45:00Z"])
