"""Files that users upload."""

import unicodedata
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, NewType
from uuid import UUID

from typing_extensions import TypeAliasType

from app.core.errors import Conflict, ContentTooLarge, NotFound, UnsupportedContent
from app.core.idempotency import IdempotencyKeyRefused
from app.domain.users import UserId

FileId = NewType("FileId", UUID)
ContentId = NewType("ContentId", UUID)
FileSort = TypeAliasType("FileSort", Literal["created_at", "-created_at", "name", "-name"])
FileState = Literal["pending", "ready", "cancelled"]
"""A cancelled file is hidden, but a signed request can still upload its content."""

LONGEST_NAME: Final = 200
"""In characters: with its escapes, a name must fit into a header."""

_LONGEST_ENDING: Final = 10

STORED: Final = "files/"
"""Prefix of the keys of verified content."""

INCOMING: Final = "uploads/"
"""Prefix of the keys of content that clients upload directly."""


@dataclass(frozen=True, slots=True)
class File:
    """A complete file, its content verified.

    Attributes:
        name: Sanitized name; never part of a path or key.
        media_type: Verified type of the content.
        size: In bytes.
        sha256: In hexadecimal.
        content_id: Names the object with its content.
    """

    id: FileId
    owner_id: UserId
    name: str
    media_type: str
    size: int
    sha256: str
    content_id: ContentId
    created_at: datetime

    @property
    def etag(self) -> str:
        """Return the entity tag of the content, which never changes (RFC 9110 §8.8.3)."""
        return f'"{self.sha256}"'


@dataclass(frozen=True, slots=True)
class IncomingFile:
    """A file that is being uploaded through the service.

    Attributes:
        media_type: Declared type, if any.
        chunks: Content, which can be read once.
        at_most: Maximum size in bytes, if the request has a length.
    """

    name: str
    media_type: str | None
    chunks: AsyncIterator[bytes]
    at_most: int | None


@dataclass(frozen=True, slots=True)
class AnnouncedFile:
    """A file that the client will upload directly, as declared."""

    name: str
    media_type: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class PendingFile:
    """A row with space reserved for a file.

    Attributes:
        size: Reserved bytes.
        sha256: Declared hash of a direct upload.
        expires_at: Moment from which the upload is given up; `None` if it is complete.
    """

    id: FileId
    owner_id: UUID
    name: str
    media_type: str
    size: int
    sha256: str | None
    state: FileState
    created_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Usage:
    """Number and total size of a user's files, unfinished ones included."""

    files: int
    unfinished: int
    size: int


class FileNotFound(NotFound):
    """The file does not exist, is another user's, or is incomplete."""

    code = "file_not_found"
    title = "File not found"


class FileTooLarge(ContentTooLarge):
    """The file exceeds the maximum size."""

    code = "file_too_large"
    title = "File too large"


class QuotaExceeded(Conflict):
    """The user's files would exceed the quota."""

    code = "quota_exceeded"
    title = "Quota exceeded"


class TooManyUploads(Conflict):
    """The user has as many unfinished uploads as an account may have."""

    code = "too_many_uploads"
    title = "Too many unfinished uploads"


class UnsupportedFileType(UnsupportedContent):
    """The type of the file is not allowed."""

    code = "unsupported_file_type"
    title = "File type not accepted"


class FileTypeMismatch(UnsupportedContent):
    """The content is not of the declared type."""

    code = "file_type_mismatch"
    title = "File type mismatch"


class UploadExpired(Conflict):
    """The upload took too long, or was cancelled."""

    code = "upload_expired"
    title = "Upload expired or cancelled"


class UploadIncomplete(Conflict):
    """The content of the upload is missing, or other than announced."""

    code = "upload_incomplete"
    title = "Upload incomplete"


class IdempotencyKeyNotTaken(IdempotencyKeyRefused):
    """The operation supports no idempotency key: its body is not stored for comparison."""

    code = "idempotency_key_not_taken"
    title = "Idempotency key not supported"
    advice = "Remove the header; a repeated request is carried out again"


def stored_key(owner_id: UserId, file_id: FileId, content_id: ContentId) -> str:
    """Return the key of verified content, different for each attempt to store it."""
    return f"{STORED}{owner_id}/{file_id}.{content_id}"


def incoming_key(owner_id: UserId, file_id: FileId) -> str:
    """Return the key that a client uploads content to."""
    return f"{INCOMING}{owner_id}/{file_id}"


def id_in(key: str) -> FileId | None:
    """Return the id of the file that a key belongs to, if any."""
    try:
        return FileId(UUID(key.rpartition("/")[2].partition(".")[0]))
    except ValueError:
        return None


def safe_name(name: str) -> str:
    """Return a name that is safe to show, log and save.

    Drops folders, control and invisible characters (as in `invoice<U+202E>fdp.exe`), and dots and
    spaces at both ends; keeps a short ending when it truncates.
    """
    last = unicodedata.normalize("NFC", name).replace("\\", "/").rpartition("/")[2]
    visible = "".join(each for each in last if unicodedata.category(each)[0] != "C")
    bare = " ".join(visible.split()).strip(". ")
    if len(bare) > LONGEST_NAME:
        stem, dot, ending = bare.rpartition(".")
        ending = f"{dot}{ending}" if stem and len(ending) <= _LONGEST_ENDING else ""
        bare = bare[: LONGEST_NAME - len(ending)] + ending
    return bare or "unnamed"
