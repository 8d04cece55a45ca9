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

FileId = NewType("FileId", UUID)
ContentId = NewType("ContentId", UUID)
FileSort = TypeAliasType("FileSort", Literal["created_at", "-created_at", "name", "-name"])
FileState = Literal["pending", "ready", "cancelled"]
"""Cancelled is what nobody sees any more, and for which its client can still send something."""

LONGEST_NAME: Final = 200
"""In characters: with its escapes, a name must fit into a header."""

_LONGEST_ENDING: Final = 10

STORED: Final = "files/"
"""What the keys of files begin with that can be read."""

INCOMING: Final = "uploads/"
"""What the keys of files begin with that clients put into the store themselves, unseen by us."""


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is read: it is all there, and is what it says it is.

    Attributes:
        name: What its owner calls it; no path, and never part of one of ours.
        media_type: What its content was found to be.
        size: In bytes.
        sha256: The SHA-256 of its content, in hexadecimal.
        content_id: Which of the objects that were stored for it is its content.
    """

    id: FileId
    name: str
    media_type: str
    size: int
    sha256: str
    content_id: ContentId
    created_at: datetime

    @property
    def etag(self) -> str:
        """The entity tag of its content, which never changes (RFC 9110 §8.8.3)."""
        return f'"{self.sha256}"'


@dataclass(frozen=True, slots=True)
class IncomingFile:
    """A file that comes in through the service.

    Attributes:
        name: What the client calls it.
        media_type: What the client says it is, if it says so.
        chunks: Its content, which can be read once.
        at_most: How many bytes it can have, as far as the request tells; None if it doesn't.
    """

    name: str
    media_type: str | None
    chunks: AsyncIterator[bytes]
    at_most: int | None


@dataclass(frozen=True, slots=True)
class AnnouncedFile:
    """A file that the client wants to put into the store itself.

    Attributes:
        name: What the client calls it.
        media_type: What the client says it is.
        size: How many bytes it will have.
        sha256: What their SHA-256 will be, in hexadecimal.
    """

    name: str
    media_type: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class PendingFile:
    """A file that isn't there yet, but whose place is taken.

    Attributes:
        owner_id: Whose it will be.
        name: What it will be called.
        media_type: What it was said to be.
        size: How many bytes are kept free for it.
        sha256: What its SHA-256 was said to be; None if nothing was said.
        state: Whether it is still pending.
        expires_at: When its place is given up; None if it isn't pending any more.
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
    """What a user's files take, those included that are on their way.

    Attributes:
        files: How many there are.
        size: Their bytes, together.
    """

    files: int
    size: int


class FileNotFound(NotFound):
    """No such file, or another's, or not all there yet."""

    code = "file_not_found"
    title = "There is no such file"


class FileTooLarge(ContentTooLarge):
    """A file of more bytes than any may have."""

    code = "file_too_large"
    title = "The file is too large"


class QuotaExceeded(Conflict):
    """The user's files would be more, or larger together, than they may be."""

    code = "quota_exceeded"
    title = "Your files would take more room than you have"


class UnsupportedFileType(UnsupportedContent):
    """A type of file that isn't taken."""

    code = "unsupported_file_type"
    title = "This type of file is not accepted"


class FileTypeMismatch(UnsupportedContent):
    """A file that is not what it says it is."""

    code = "file_type_mismatch"
    title = "The content of the file is not of its type"


class UploadExpired(Conflict):
    """An upload that took too long, or that was cancelled while it was under way."""

    code = "upload_expired"
    title = "The upload is no longer open"


class UploadIncomplete(Conflict):
    """An upload was said to be complete, and what was announced is not in the store."""

    code = "upload_incomplete"
    title = "What was announced has not been uploaded"


class IdempotencyKeyNotTaken(IdempotencyKeyRefused):
    """A key came with a body that is not kept, so that it can't be told from another one's."""

    code = "idempotency_key_not_taken"
    title = "This operation takes no idempotency key"
    advice = "Leave it out: sent twice, this request is carried out twice"


def stored_key(file_id: FileId, content_id: ContentId) -> str:
    """Return where the content of a file is: a name made by us alone.

    Each try to store it has a name of its own. So no try can harm what another has stored.
    """
    return f"{STORED}{file_id}.{content_id}"


def incoming_key(file_id: FileId) -> str:
    """Return where a client puts the content of a file."""
    return f"{INCOMING}{file_id}"


def id_in(key: str) -> FileId | None:
    """Return the file that a key belongs to; None if it is no key of ours."""
    try:
        return FileId(UUID(key.rpartition("/")[2].partition(".")[0]))
    except ValueError:
        return None


def safe_name(name: str) -> str:
    """Return a name without what could harm those who show, log or save it.

    No folders, no control characters, none that are invisible or turn the direction of writing (as
    in `invoice<U+202E>fdp.exe`), no dots or spaces around it; the ending survives shortening.
    """
    last = unicodedata.normalize("NFC", name).replace("\\", "/").rpartition("/")[2]
    visible = "".join(each for each in last if unicodedata.category(each)[0] != "C")
    bare = " ".join(visible.split()).strip(". ")
    if len(bare) > LONGEST_NAME:
        stem, dot, ending = bare.rpartition(".")
        ending = f"{dot}{ending}" if stem and len(ending) <= _LONGEST_ENDING else ""
        bare = bare[: LONGEST_NAME - len(ending)] + ending
    return bare or "unnamed"
