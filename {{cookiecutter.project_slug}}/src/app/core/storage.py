"""Port of the file store, for content too large for the database."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.core.errors import NotFound, Unavailable


class FileStoreUnavailable(Unavailable):
    """The store is unreachable, refuses the credentials, or did not answer in time."""

    code = "file_store_unavailable"
    title = "The file store is not available right now"


class ObjectNotFound(NotFound):
    """The store has no object under this key."""

    code = "object_not_found"
    title = "There is no such object"


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


class FileStore(Protocol):
    """Stores objects under keys: relative paths of letters, digits, `-`, `_`, `.` and `/`.

    An object appears whole or not at all. Every method has a time limit and raises
    `FileStoreUnavailable` if the store fails.
    """

    async def put(self, key: str, chunks: AsyncIterator[bytes], *, media_type: str) -> StoredFile:
        """Store or replace an object, in constant memory.

        If the store or the iterator fails, nothing new is left under the key.
        """

    def open(self, key: str, byte_range: ByteRange | None = None) -> Content:
        """Open an object, or a range within it.

        Raises:
            ObjectNotFound: There is no such object.
        """

    async def delete(self, key: str) -> None:
        """Delete an object, if it exists."""

    def list(self, prefix: str) -> AsyncIterator[StoredObject]:
        """Yield the objects whose key starts with a prefix, ordered by key."""

    async def abort_unfinished(self, before: datetime) -> int:
        """Delete the remains of `put`s that began before a moment; return their number."""

    async def ping(self) -> None:
        """Check that the store is writable and readable."""
