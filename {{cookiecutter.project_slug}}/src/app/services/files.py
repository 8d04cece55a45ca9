"""Files: uploads, downloads, deletion, and removal of leftovers."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from app.core.clock import utc_now
from app.core.config.storage import StorageSettings
from app.core.ids import new_id
from app.core.pages import Page, PageRequest
from app.core.storage import ByteRange, Content, FileStore
from app.domain.files import (
    INCOMING,
    STORED,
    ContentId,
    File,
    FileId,
    FileNotFound,
    FileSort,
    FileState,
    FileTooLarge,
    IncomingFile,
    QuotaExceeded,
    UploadExpired,
    id_in,
    incoming_key,
    stored_key,
)
from app.domain.users import UserId
from app.infrastructure.database import Database
from app.infrastructure.storage import Storage
from app.repositories.files import FileRepository
from app.services.uploads import FileLifecycle

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class SignedLink:
    """A URL of a file's content that works without credentials."""

    url: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class FileQueries:
    """Reads what is known of files; another owner's are not found."""

    files: FileRepository

    async def one(self, owner_id: UserId, file_id: FileId) -> File:
        """Return one file.

        Raises:
            FileNotFound: The owner has none of this id.
        """
        file = await self.files.get(owner_id, file_id)
        if file is None:
            raise FileNotFound
        return file

    async def page(self, owner_id: UserId, sort: FileSort, page: PageRequest) -> Page[File]:
        """Return a page of an owner's files.

        Raises:
            InvalidInput: The cursor is not one of this list.
        """
        return await self.files.list(owner_id, sort, page)


@dataclass(frozen=True, slots=True)
class FileService:
    """Takes, gives and deletes files. It opens its own transactions, short ones."""

    database: Database
    storage: Storage
    lifecycle: FileLifecycle
    settings: StorageSettings

    async def find(self, owner_id: UserId, file_id: FileId) -> File:
        """Return one file, and hold no connection afterwards.

        Raises:
            FileNotFound: The owner has none of this id.
        """
        async with self.database.read() as connection:
            return await FileQueries(FileRepository(connection)).one(owner_id, file_id)

    def content(self, file: File, byte_range: ByteRange | None) -> Content:
        """Give the content of a file, or some of it.

        Raises:
            ObjectNotFound: It was deleted a moment ago.
            FileStoreUnavailable: The store does not give it.
        """
        return self.storage.open(stored_key(file.id, file.content_id), byte_range)

    async def upload(self, owner_id: UserId, incoming: IncomingFile) -> File:
        """Take a file in, in constant memory.

        Whatever goes wrong, neither a row nor content is left.

        Raises:
            InvalidToken: The account was deleted meanwhile.
            QuotaExceeded: There is no room for it.
            FileTooLarge: It is larger than any may be.
            UnsupportedFileType: It is of a type that is not taken, or of none that is known.
            FileTypeMismatch: It is not what it says it is.
            InvalidInput: It is empty.
            UploadExpired: It took too long, or was deleted while it came in.
            FileStoreUnavailable: The store does not take it.
        """
        largest = self.settings.max_file_bytes
        at_most = largest if incoming.at_most is None else min(largest, incoming.at_most)
        place = await self.lifecycle.reserve(owner_id, incoming, at_most)
        content_id, stored = ContentId(new_id()), None
        key = stored_key(place.id, content_id)
        try:
            async with asyncio.timeout(self.settings.upload_seconds):
                chunks = self._within(place.size, incoming.chunks)
                media_type, stored = await self.lifecycle.store(key, incoming.media_type, chunks)
            return await self.lifecycle.make_ready(place.id, content_id, media_type, stored)
        except BaseException as error:
            await self.lifecycle.give_up(place.id, *([] if stored is None else [key]))
            if isinstance(error, TimeoutError):
                raise UploadExpired("The upload took too long.") from error
            raise

    async def link(self, file: File, disposition: str) -> SignedLink:
        """Sign an address by which whoever has it gets the content from the store itself.

        Raises:
            FileStoreUnavailable: There is nothing to sign with.
        """
        seconds = self.settings.presign_seconds
        expires_at = utc_now() + timedelta(seconds=seconds)
        request = await self.storage.signed_get(
            stored_key(file.id, file.content_id),
            media_type=file.media_type,
            disposition=disposition,
            seconds=seconds,
        )
        return SignedLink(request.url, expires_at)

    async def delete(self, owner_id: UserId, file_id: FileId) -> None:
        """Delete a file, or cancel its upload.

        The row goes first, and its content after the commit: should that fail, the sweep does it.
        While the client can still put something into the store, a row stays that nobody sees: what
        may come takes room.

        Raises:
            FileNotFound: The owner has none of this id.
        """
        async with self.database.transaction() as session:
            files = FileRepository(session)
            row = await files.lock(file_id)
            if row is None or row.owner_id != owner_id or row.state == "cancelled":
                raise FileNotFound
            keys = [incoming_key(file_id)] if row.signed_until is not None else []
            if row.content_id is not None:
                keys.append(stored_key(file_id, ContentId(row.content_id)))
            if row.signed_until is not None and row.signed_until > utc_now():
                await files.save(row, {"state": "cancelled", "expires_at": row.signed_until})
            else:
                await files.delete(row)
            session.after_commit(partial(self.lifecycle.remove, *keys))

    async def _within(self, limit: int, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield bytes until they are more than there is room for."""
        size = 0
        async for chunk in chunks:
            size += len(chunk)
            if size > self.settings.max_file_bytes:
                raise FileTooLarge(f"At most {self.settings.max_file_bytes} bytes are accepted.")
            if size > limit:
                raise QuotaExceeded
            yield chunk


@dataclass(frozen=True, slots=True)
class FileSweep:
    """Removes what belongs to no file. What is under way has a row that is pending, and stays."""

    database: Database
    storage: FileStore
    settings: StorageSettings

    async def prune(self) -> dict[str, int]:
        """Remove leftovers, and return their numbers.

        Raises:
            FileStoreUnavailable: The store does not answer. The next run removes the rest.
        """
        begun_before = utc_now() - timedelta(seconds=self.settings.upload_seconds)
        return {
            "expired_uploads": await self._expired(),
            "objects_without_a_file": await self._orphans(STORED) + await self._orphans(INCOMING),
            "unfinished_parts": await self.storage.abort_unfinished(begun_before),
        }

    async def _expired(self) -> int:
        """Give up the places of uploads whose time is over: what came of them has no row then."""
        async with self.database.transaction() as session:
            return len(await FileRepository(session).give_up_expired(utc_now()))

    async def _orphans(self, prefix: str) -> int:
        """Remove content that no row speaks for.

        Rows come before their content does, and one that is ready names no other any more: so what
        was listed first and has no row that needs it, none will ever need.
        """
        swept = 0
        async for keys in self._batches(prefix):
            async with self.database.read() as connection:
                contents = await FileRepository(connection).contents(list(keys.values()))
            # In order: thousands at once would be an attack on the store.
            for key, file_id in keys.items():
                if not _is_needed(key, file_id, *contents.get(file_id, ("cancelled", None))):
                    await self.storage.delete(key)
                    swept += 1
        return swept

    async def _batches(self, prefix: str) -> AsyncIterator[dict[str, FileId]]:
        """Yield the keys that are ours, some at a time."""
        batch: dict[str, FileId] = {}
        async for stored in self.storage.list(prefix):
            if (file_id := id_in(stored.key)) is not None:
                batch[stored.key] = file_id
            if len(batch) == _AT_ONCE:
                yield batch
                batch = {}
        if batch:
            yield batch


def _is_needed(key: str, file_id: FileId, state: FileState, content_id: ContentId | None) -> bool:
    """Tell whether somebody may be at work on a key, or a file has its content there."""
    if state == "ready" and content_id is not None:
        return key == stored_key(file_id, content_id)
    return state == "pending"
