"""Files at the boundary."""

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
        description="The file. Its name is kept, its `Content-Type` is compared with its content.",
        examples=[_EXAMPLE],
        json_schema_extra={"contentMediaType": "application/octet-stream"},
    )


class UploadCreate(InputModel):
    """A file that is to be put into the store directly."""

    name: Annotated[str, StringConstraints(max_length=LONGEST_NAME, pattern=VISIBLE_LINE)] = Field(
        min_length=1, description="What it is called.", examples=["note.txt"]
    )
    media_type: str = Field(
        min_length=3,
        max_length=127,
        pattern=r"^[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+$",
        description="What it is; its content will be compared with it.",
        examples=["text/plain"],
    )
    size: Annotated[int, BeforeValidator(is_a_number)] = Field(
        ge=1, le=_LARGEST, description="How many bytes it has.", examples=[22]
    )
    sha256: Sha256

    def announced(self) -> AnnouncedFile:
        """Return what is announced, in the words of the domain."""
        return AnnouncedFile(self.name, self.media_type, self.size, self.sha256)


class FileResponse(ResourceResponse):
    """A file: what is known of it."""

    name: str = Field(description="What it is called.", examples=["note.txt"])
    media_type: str = Field(
        description="What its content was found to be.", examples=["text/plain"]
    )
    size: int = Field(description="How many bytes it has.", examples=[22])
    sha256: str = Field(
        description="SHA-256 of its content, in hexadecimal.", examples=[_EXAMPLE_HASH]
    )


class FilePage(Page[FileResponse]):
    """Some of a list of files."""


class FileListQuery(PageQuery):
    """Which files are wanted, and in which order."""

    sort: FileSort = Field(
        "-created_at",
        description="What to sort by; a minus in front for descending order.",
        examples=["name"],
    )


class UploadResponse(ResourceResponse):
    """How to put a file, whose id this is, into the store: one request, exactly as described."""

    method: Literal["PUT"] = Field(description="The method of the request.", examples=["PUT"])
    url: str = Field(
        description="Where to send it. It needs no other credentials: keep it to yourself.",
        examples=[_EXAMPLE_URL],
    )
    headers: dict[str, str] = Field(
        description="What must be sent along, exactly so; the body is the content.",
        examples=[{"Content-Length": "22", "Content-Type": "text/plain"}],
    )
    expires_at: datetime = Field(
        description="Until when it can be sent, in UTC.", examples=["2026-11-21T10:45:00Z"]
    )


class LinkResponse(ResponseModel):
    """An address of a file's content, for whoever has it."""

    url: str = Field(
        description="The address. It needs no other credentials: give it to nobody else.",
        examples=[_EXAMPLE_URL],
    )
    expires_at: datetime = Field(
        description="Until when it works, in UTC.", examples=["2026-11-21T10:45:00Z"]
    )
