"""Types and errors of the file store, for content too large for the database."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime

from app.core.errors import NotFound, Unavailable


class FileStoreUnavailable(Unavailable):
    """The store is unreachable, refuses the credentials, or did not answer in time."""

    code = "file_store_unavailable"
    title = "File store unavailable"

    @classmethod
    def due_to(cls, error: Exception) -> "FileStoreUnavailable":
        """Return an error with the name of another one; a plain `OSError` has only its text."""
        text = getattr(error, "strerror", None) if type(error) is OSError else None
        return cls(reason=text or type(error).__name__)


class ObjectNotFound(NotFound):
    """The store has no object under this key."""

    code = "object_not_found"
    title = "Object not found"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """The size and the SHA-256, in hexadecimal, of content that was stored."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An entry of a list of objects."""

    key: str
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class ByteRange:
    """A range of bytes, both ends included (RFC 9110 §14.1.2)."""

    first: int
    last: int

    @property
    def size(self) -> int:
        """Return the number of bytes."""
        return self.last - self.first + 1


Content = AbstractAsyncContextManager[tuple[int, AsyncIterator[bytes]]]
"""An open object: its whole size, and its bytes or those of a range."""
