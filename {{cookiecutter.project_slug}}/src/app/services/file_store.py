"""Where bytes are kept that are too many for the database; adapters in `app.infrastructure`."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.core.errors import NotFound, Unavailable


class FileStoreUnavailable(Unavailable):
    """The store can't be reached, refuses us, or did not answer in time."""

    code = "file_store_unavailable"
    title = "The file store is not available right now"


class ObjectNotFound(NotFound):
    """The store has nothing under this key."""

    code = "object_not_found"
    title = "There is no such object"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What is stored under a key.

    Attributes:
        size: How much it is, in bytes.
        etag: Changes whenever it does; of the store's own making, without quotes.
    """

    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class StoredFile(StoredObject):
    """What was just stored.

    Attributes:
        sha256: The SHA-256 of its bytes, in hexadecimal, computed while they passed.
    """

    sha256: str


@dataclass(frozen=True, slots=True)
class StoredKey:
    """One line of the list of what is stored.

    Attributes:
        key: Its name.
        size: In bytes.
        modified_at: When it was stored.
    """

    key: str
    size: int
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Some bytes that follow each other, both ends included, as in HTTP (RFC 9110 §14.1.2)."""

    first: int
    last: int

    @property
    def size(self) -> int:
        """How many bytes they are."""
        return self.last - self.first + 1


class FileStore(Protocol):
    """Keeps objects under keys: relative paths of letters, digits, `-`, `_`, `.` and `/`.

    Every method waits for a limited time, and raises `FileStoreUnavailable` if the store does not
    do what it is asked to. An object appears whole or not at all.
    """

    async def put(self, key: str, chunks: AsyncIterator[bytes], *, media_type: str) -> StoredFile:
        """Store what an iterator yields, in constant memory.

        Whatever goes wrong, in the store or in the iterator, nothing new is left under the key.

        Args:
            key: Where; what is there is replaced.
            chunks: The bytes.
            media_type: What they are.
        """

    def open(
        self, key: str, byte_range: ByteRange | None = None
    ) -> AbstractAsyncContextManager[tuple[StoredObject, AsyncIterator[bytes]]]:
        """Yield the whole object's facts and its bytes, or those of a range within it.

        Raises:
            ObjectNotFound: There is none.
        """

    async def head(self, key: str) -> StoredObject | None:
        """Return the facts of an object, or None if there is none."""

    async def delete(self, key: str) -> None:
        """Remove an object, if it is there."""

    def list(self, prefix: str) -> AsyncIterator[StoredKey]:
        """Yield all objects whose key starts with this, in the order of their keys."""

    async def abort_unfinished(self, before: datetime) -> int:
        """Remove what is left of `put`s that began before a moment and ended in no way at all.

        Returns:
            How many they were.
        """

    async def ping(self) -> None:
        """Pass if the store would take and give objects."""
