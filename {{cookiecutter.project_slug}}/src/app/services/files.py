"""Files: reading, downloads, deletion, and removal of leftovers."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from app.core.clock import utc_now
from app.core.config.storage import StorageSettings
from app.core.pages import Page, PageRequest
from app.core.storage import ByteRange, Content
from app.domain.files import (
    INCOMING,
    STORED,
    ContentId,
    File,
    FileId,
    FileNotFound,
    FileSort,
    FileState,
    id_in,
    incoming_key,
    stored_key,
)
from app.domain.users import UserId
from app.infrastructure.database import Database
from app.infrastructure.storage import Storage
from app.repositories.files import FileRepository
from app.services.uploads import remove

_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class SignedLink:
    """A URL of a file's content that works without credentials."""

    url: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class FileQueries:
    """Reads metadata of files; those of other owners are not found."""

    files: FileRepository

    async def one(self, owner_id: UserId, file_id: FileId) -> File:
        """Return a file.

        Raises:
            FileNotFound: The owner has no such file.
        """
        file = await self.files.get(owner_id, file_id)
        if file is None:
            raise FileNotFound
        return file

    async def page(self, owner_id: UserId, sort: FileSort, page: PageRequest) -> Page[File]:
        """Return a page of an owner's files."""
        return await self.files.list(owner_id, sort, page)


@dataclass(frozen=True, slots=True)
class FileService:
    """Serves and deletes content; opens short transactions."""

    database: Database
    storage: Storage
    settings: StorageSettings

    async def find(self, owner_id: UserId, file_id: FileId) -> File:
        """Return a file, and release the connection."""
        async with self.database.read() as connection:
            return await FileQueries(FileRepository(connection)).one(owner_id, file_id)

    def content(self, file: File, byte_range: ByteRange | None) -> Content:
        """Open the content of a file, or a range of it.

        Raises:
            ObjectNotFound: It was deleted meanwhile.
        """
        return self.storage.open(stored_key(file.owner_id, file.id, file.content_id), byte_range)

    async def link(self, file: File, disposition: str) -> SignedLink:
        """Sign a URL of the content in the store.

        Raises:
            FileStoreUnavailable: There are no credentials to sign with.
        """
        seconds = self.settings.presign_seconds
        expires_at = utc_now() + timedelta(seconds=seconds)
        url = await self.storage.signed_get(
            stored_key(file.owner_id, file.id, file.content_id),
            media_type=file.media_type,
            disposition=disposition,
            seconds=seconds,
        )
        return SignedLink(url, expires_at)

    async def delete(self, owner_id: UserId, file_id: FileId) -> None:
        """Delete a file, or cancel its upload: the row, and its content after the commit.

        While a signed request of the client is valid, a cancelled row stays and counts towards the
        quota.

        Raises:
            FileNotFound: The owner has no such file.
        """
        async with self.database.transaction() as session:
            files = FileRepository(session)
            row = await files.lock(file_id)
            if row is None or row.owner_id != owner_id or row.state == "cancelled":
                raise FileNotFound
            keys = [incoming_key(owner_id, file_id)] if row.signed_until is not None else []
            if row.content_id is not None:
                keys.append(stored_key(owner_id, file_id, ContentId(row.content_id)))
            if row.signed_until is not None and row.signed_until > utc_now():
                await files.save(row, {"state": "cancelled", "expires_at": row.signed_until})
            else:
                await files.delete(row)
            session.after_commit(partial(remove, self.storage, self.settings, *keys))


@dataclass(frozen=True, slots=True)
class FileSweep:
    """Removes expired uploads and orphaned objects."""

    database: Database
    storage: Storage
    settings: StorageSettings

    async def prune(self) -> dict[str, int]:
        """Remove leftovers, and return their numbers.

        Raises:
            FileStoreUnavailable: The store failed; the next run removes the rest.
        """
        now = utc_now()
        begun_before = now - timedelta(seconds=self.settings.upload_seconds)
        async with self.database.transaction() as session:
            expired = await FileRepository(session).give_up_expired(now)
        return {
            "expired_uploads": len(expired),
            "objects_without_a_file": await self._orphans(STORED) + await self._orphans(INCOMING),
            "unfinished_parts": await self.storage.abort_unfinished(begun_before),
        }

    async def _orphans(self, prefix: str) -> int:
        """Remove objects that no row needs.

        A row is committed before its content is stored, and a ready row never changes its content:
        an object that was listed before its row was found missing is an orphan for good.
        """
        removed = 0
        async for keys in self._batches(prefix):
            async with self.database.read() as connection:
                contents = await FileRepository(connection).contents(list(keys.values()))
            # One at a time: thousands of deletions at once would overload the store.
            for key, file_id in keys.items():
                if not _is_needed(key, *contents.get(file_id, ("cancelled", None))):
                    await self.storage.delete(key)
                    removed += 1
        return removed

    async def _batches(self, prefix: str) -> AsyncIterator[dict[str, FileId]]:
        """Yield the keys of files in batches; other keys are left alone."""
        batch: dict[str, FileId] = {}
        async for stored in self.storage.list(prefix):
            if (file_id := id_in(stored.key)) is not None:
                batch[stored.key] = file_id
            if len(batch) == _BATCH:
                yield batch
                batch = {}
        if batch:
            yield batch


def _is_needed(key: str, state: FileState, content_id: ContentId | None) -> bool:
    """Return whether a file has its content under its key, or an upload may still use that."""
    return key.endswith(f".{content_id}") if state == "ready" else state == "pending"
