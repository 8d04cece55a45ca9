"""Files to upload, rows of files, and what is left of either."""

import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Final

from polyfactory import Use
from polyfactory.factories.sqlalchemy_factory import SQLAlchemyFactory

from app import models
from app.domain.clock import utc_now
from app.domain.files import INCOMING, STORED
from app.domain.ids import new_id
from app.resources import Resources

FILES: Final = "/api/v1/files"
UPLOADS: Final = f"{FILES}/uploads"
TEXT: Final = b"Note G, with a table.\n"
PNG: Final = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + bytes(50)
MEBIBYTE: Final = 1024 * 1024


class FileFactory(SQLAlchemyFactory[models.File]):
    """A file that is there, as far as its row tells."""

    __set_relationships__ = False

    id = Use(new_id)
    state = "ready"
    name = "note.txt"
    media_type = "text/plain"
    size = len(TEXT)
    sha256: str | None = hashlib.sha256(TEXT).hexdigest()
    expires_at: Any = None
    created_at = Use(utc_now)
    updated_at = Use(utc_now)


class PendingFileFactory(FileFactory):
    """A file that is on its way."""

    state = "pending"
    sha256 = None
    expires_at = Use(lambda: utc_now() + timedelta(hours=1))


def announcement(data: bytes = TEXT, **fields: Any) -> dict[str, Any]:
    """The announcement of a file that is to be put into the store directly."""
    return {
        "name": "note.txt",
        "media_type": "text/plain",
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        **fields,
    }


async def keys_of(resources: Resources) -> set[str]:
    """The keys of everything that is stored of files, in whatever state."""
    return {
        stored.key
        for prefix in (STORED, INCOMING)
        async for stored in resources.storage.list(prefix)
    }


async def multipart(*chunks: bytes, name: str = "large.txt") -> AsyncIterator[bytes]:
    """A body with one file, whose length isn't said."""
    yield part(name=name)
    for chunk in chunks:
        yield chunk
    yield END


BOUNDARY: Final = "boundary-of-tests"
END: Final = f"\r\n--{BOUNDARY}--\r\n".encode()
MULTIPART: Final = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def part(field: str = "file", name: str | None = "large.txt", kind: str = "text/plain") -> bytes:
    """The beginning of a part."""
    file_name = "" if name is None else f'; filename="{name}"'
    return (
        f"--{BOUNDARY}\r\n"
        f'Content-Disposition: form-data; name="{field}"{file_name}\r\n'
        f"Content-Type: {kind}\r\n\r\n"
    ).encode()
