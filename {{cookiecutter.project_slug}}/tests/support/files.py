"""Files, their rows and their objects, for tests."""

import hashlib
from collections.abc import AsyncIterator, Callable
from copy import copy
from datetime import timedelta
from typing import Any, Final

from polyfactory import Use
from polyfactory.factories.sqlalchemy_factory import SQLAlchemyFactory

from app import models
from app.core.clock import utc_now
from app.core.ids import new_id
from app.domain.files import INCOMING, STORED, ContentId, FileId, stored_key
from app.domain.users import UserId
from app.infrastructure.database import Session
from app.infrastructure.storage import Storage
from app.repositories.files import FileRepository
from app.repositories.users import UserRepository
from app.resources import Resources
from app.services.files import FileService
from app.services.uploads import Reservations, Uploads
from tests.support.resources import replaced

FILES: Final = "/api/v1/files"
UPLOADS: Final = f"{FILES}/uploads"
TEXT: Final = b"Note G, with a table.\n"
PNG: Final = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + bytes(50)
MEBIBYTE: Final = 1024 * 1024


class FileFactory(SQLAlchemyFactory[models.File]):
    """The row of a complete file."""

    __set_relationships__ = False

    id = Use(new_id)
    state = "ready"
    name = "note.txt"
    media_type = "text/plain"
    size = len(TEXT)
    sha256: str | None = hashlib.sha256(TEXT).hexdigest()
    content_id: Any = Use(new_id)
    signed_until = None
    expires_at: Any = None
    created_at = Use(utc_now)
    updated_at = Use(utc_now)


class PendingFileFactory(FileFactory):
    """The row of an upload."""

    state = "pending"
    sha256 = None
    content_id = None
    expires_at = Use(lambda: utc_now() + timedelta(hours=1))


def announcement(data: bytes = TEXT, **fields: Any) -> dict[str, Any]:
    """The body that announces a direct upload."""
    return {
        "name": "note.txt",
        "media_type": "text/plain",
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        **fields,
    }


def key_of(row: models.File) -> str:
    """The key of the content of a file."""
    assert row.content_id is not None
    return stored_key(UserId(row.owner_id), FileId(row.id), ContentId(row.content_id))


def with_storage_settings(resources: Resources, **changes: Any) -> Resources:
    """The same resources with other settings of the storage."""
    storage = resources.settings.storage.model_copy(update=changes)
    return replaced(resources, settings=resources.settings.model_copy(update={"storage": storage}))


def files_of(resources: Resources) -> FileService:
    """Return the service for downloads and deletion."""
    return FileService(resources.database, resources.storage, resources.settings.storage)


def uploads_of(resources: Resources) -> Uploads:
    """Return the service for uploads."""
    return Uploads(resources.database, resources.storage, resources.settings.storage)


def reservations_of(resources: Resources, session: Session) -> Reservations:
    """Return the service for direct uploads."""
    files, users = FileRepository(session), UserRepository(session)
    return Reservations(files, users, resources.storage, resources.settings.storage)


async def keys_of(resources: Resources) -> set[str]:
    """The keys of all objects."""
    return {
        stored.key
        for prefix in (STORED, INCOMING)
        async for stored in resources.storage.list(prefix)
    }


async def multipart(*chunks: bytes, name: str = "large.txt") -> AsyncIterator[bytes]:
    """A body with one file and no length."""
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


class FailingClient:
    """A client of which one operation fails, before or after it is done."""

    def __init__(self, client: Any, fails: str, *, is_done: bool) -> None:
        self._client, self._fails, self._is_done = client, fails, is_done

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call: Callable[..., Any] = getattr(self._client, name)

        async def fail(**arguments: Any) -> None:
            if self._is_done:
                await call(**arguments)
            raise ConnectionResetError

        return fail if name == self._fails else call


async def failing(storage: Storage, call: str, *, is_done: bool) -> Storage:
    """A store of which one operation fails, before or after it is done."""
    broken = copy(storage)
    client: Any = FailingClient(await storage._client(), call, is_done=is_done)
    broken._clients = {storage._settings.endpoint_url: client}
    return broken
