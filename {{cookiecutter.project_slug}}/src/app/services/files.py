"""Files: how their rows and their content stay together, whatever breaks in between.

A row comes first and is pending, which keeps room within its owner's quota. Then comes the content,
under a key that is made of the row's id and never used again. Then the row becomes ready. Who
deletes takes the row away first. So there is never a ready row without its content, and content
without a ready row is somebody's unfinished work: `FileSweep` removes it once its time is over.
No database connection is held while bytes flow.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from app import models
from app.core.config.storage import StorageSettings
from app.domain.clock import utc_now
from app.domain.errors import FieldError, InvalidInput, Unavailable, UserNotFound
from app.domain.files import (
    AnnouncedFile,
    File,
    FileId,
    FileNotFound,
    FileSort,
    FileTooLarge,
    IncomingFile,
    PendingFile,
    QuotaExceeded,
    UploadExpired,
    UploadIncomplete,
    incoming_key,
    safe_name,
    stored_key,
)
from app.domain.ids import UserId, new_id
from app.domain.pages import Page, PageRequest
from app.repositories.files import FileReader, FileRepository
from app.repositories.users import UserRepository
from app.services.direct_uploads import DirectStore, SignedLink, SignedUpload
from app.services.file_store import (
    ByteRange,
    FileStore,
    ObjectNotFound,
    StoredFile,
    StoredObject,
)
from app.services.media_types import SNIFFED_BYTES, UNKNOWN, identified, require_allowed
from app.services.ports import UnitsOfWork


@dataclass(frozen=True, slots=True)
class FileQueries:
    """Reads what is known of files; another owner's are not found."""

    files: FileReader

    async def one(self, owner_id: UserId, file_id: FileId) -> File:
        """Return one file.

        Raises:
            FileNotFound: The owner has none of this id.
        """
        file = await self.files.one(owner_id, file_id)
        if file is None:
            raise FileNotFound
        return file

    async def page(self, owner_id: UserId, sort: FileSort, page: PageRequest) -> Page[File]:
        """Return a page of an owner's files.

        Raises:
            InvalidInput: The cursor is not one of this list.
        """
        return await self.files.page(owner_id, sort, page)


@dataclass(frozen=True, slots=True)
class FileService:
    """Takes, gives and deletes files. It opens its own transactions, short ones."""

    database: UnitsOfWork
    storage: FileStore
    direct: DirectStore
    settings: StorageSettings

    async def find(self, owner_id: UserId, file_id: FileId) -> File:
        """Return one file, and hold no connection afterwards.

        Raises:
            FileNotFound: The owner has none of this id.
        """
        async with self.database.read() as connection:
            return await FileQueries(FileReader(connection)).one(owner_id, file_id)

    def content(
        self, file: File, byte_range: ByteRange | None
    ) -> AbstractAsyncContextManager[tuple[StoredObject, AsyncIterator[bytes]]]:
        """Give the content of a file, or some of it.

        Raises:
            ObjectNotFound: It was deleted a moment ago.
            FileStoreUnavailable: The store does not give it.
        """
        return self.storage.open(stored_key(file.id), byte_range)

    async def upload(self, owner_id: UserId, incoming: IncomingFile) -> File:
        """Take a file in, in constant memory.

        Whatever goes wrong, neither a row nor content is left.

        Raises:
            UserNotFound: The account was deleted meanwhile.
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
        place = await self._reserve(owner_id, incoming, at_most)
        stored = None
        try:
            async with asyncio.timeout(self.settings.upload_seconds):
                chunks = self._within(place.size, incoming.chunks)
                media_type, stored = await self._store(place.id, incoming.media_type, chunks)
            return await self._make_ready(place.id, media_type, stored)
        except BaseException as error:
            await self._give_up(place.id, is_stored=stored is not None)
            if isinstance(error, TimeoutError):
                raise UploadExpired("The upload took too long.") from error
            raise

    async def announce(self, owner_id: UserId, file: AnnouncedFile) -> SignedUpload:
        """Keep a place for a file that the client puts into the store itself.

        Raises:
            UserNotFound: The account was deleted meanwhile.
            QuotaExceeded: There is no room for it.
            FileTooLarge: It is larger than any may be.
            UnsupportedFileType: It is of a type that is not taken.
            FileStoreUnavailable: There is nothing to sign with.
        """
        if file.size > self.settings.max_file_bytes:
            raise FileTooLarge(f"At most {self.settings.max_file_bytes} bytes are accepted.")
        require_allowed(file.media_type, self.settings.media_types)
        place = await self._reserve(owner_id, file, file.size)
        if place.size < file.size:
            await self._give_up(place.id)
            raise QuotaExceeded
        seconds = self.settings.presign_seconds
        request = await self.direct.signed_put(
            incoming_key(place.id),
            size=file.size,
            media_type=file.media_type,
            sha256=file.sha256,
            seconds=seconds,
        )
        expires_at = place.created_at + timedelta(seconds=seconds)
        return SignedUpload(place.id, place.created_at, request, expires_at)

    async def complete(self, owner_id: UserId, file_id: FileId) -> File:
        """Make a file of what the client has put into the store, if it is what was announced.

        Every byte is read, whatever the store may have checked, and what was read is kept where the
        client, whose request is still good for a while, can't change it any more.

        Raises:
            FileNotFound: The owner has announced none of this id.
            UploadExpired: Its time is over.
            UploadIncomplete: It is not there, or it is not what was announced.
            FileTypeMismatch: It is not what it says it is.
            FileStoreUnavailable: The store does not give it.
        """
        async with self.database.read() as connection:
            files = FileReader(connection)
            place, file = await files.place(owner_id, file_id), await files.one(owner_id, file_id)
        if file is not None:
            return file
        if place is None or place.sha256 is None:
            raise FileNotFound
        if place.expires_at is None or place.expires_at <= utc_now():
            raise UploadExpired("The time for this upload is over.")
        try:
            async with (
                asyncio.timeout((place.expires_at - utc_now()).total_seconds()),
                self.storage.open(incoming_key(file_id)) as (found, chunks),
            ):
                if found.size != place.size:
                    raise UploadIncomplete("It has another size than was announced.")
                media_type, stored = await self._store(file_id, place.media_type, chunks)
        except ObjectNotFound:
            raise UploadIncomplete("Nothing was uploaded yet.") from None
        except TimeoutError as error:
            raise UploadExpired("The time for this upload is over.") from error
        if stored.sha256 != place.sha256:
            await self.storage.delete(stored_key(file_id))
            raise UploadIncomplete("It has other bytes than were announced.")
        return await self._make_ready(file_id, media_type, stored)

    async def link(self, file: File, disposition: str) -> SignedLink:
        """Sign an address by which whoever has it gets the content from the store itself.

        Raises:
            FileStoreUnavailable: There is nothing to sign with.
        """
        seconds = self.settings.presign_seconds
        expires_at = utc_now() + timedelta(seconds=seconds)
        request = await self.direct.signed_get(
            stored_key(file.id),
            media_type=file.media_type,
            disposition=disposition,
            seconds=seconds,
        )
        return SignedLink(request.url, expires_at)

    async def delete(self, owner_id: UserId, file_id: FileId) -> None:
        """Delete a file, or cancel its upload.

        The row goes first, and its content after the commit: should that fail, the sweep does it.

        Raises:
            FileNotFound: The owner has none of this id.
        """
        async with self.database.transaction() as session:
            files = FileRepository(session)
            file = await files.get(file_id)
            if file is None or file.owner_id != owner_id:
                raise FileNotFound
            await files.delete(file)
            for key in (stored_key(file_id), incoming_key(file_id)):
                session.after_commit(partial(self.storage.delete, key))

    async def _reserve(
        self, owner_id: UserId, file: IncomingFile | AnnouncedFile, at_most: int
    ) -> PendingFile:
        """Keep room for a file: as much as it can need, or as there is.

        The owner's row is locked meanwhile, so that two uploads don't get the same room.
        """
        async with self.database.transaction() as session:
            files = FileRepository(session)
            if await UserRepository(session).get(owner_id) is None:
                raise UserNotFound
            usage = await files.usage(owner_id)
            room = self.settings.quota_bytes - usage.size
            if room <= 0 or usage.files >= self.settings.quota_files:
                raise QuotaExceeded(files=usage.files, size=usage.size)
            now = utc_now()
            row = models.File(
                id=new_id(),
                owner_id=owner_id,
                state="pending",
                name=safe_name(file.name),
                media_type=file.media_type or UNKNOWN,
                size=min(at_most, room),
                sha256=file.sha256 if isinstance(file, AnnouncedFile) else None,
                created_at=now,
                expires_at=now + timedelta(seconds=self.settings.upload_seconds),
            )
            return _place(await files.add(row))

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

    async def _store(
        self, file_id: FileId, declared: str | None, chunks: AsyncIterator[bytes]
    ) -> tuple[str, StoredFile]:
        """Store content whose beginning shows that it is what it says it is."""
        head, chunks = await _peeked(chunks)
        if not head:
            fault = FieldError("body.file", "The file is empty", "file_empty")
            raise InvalidInput(fault)
        media_type = identified(declared, head, self.settings.media_types)
        stored = await self.storage.put(stored_key(file_id), chunks, media_type=media_type)
        return media_type, stored

    async def _make_ready(self, file_id: FileId, media_type: str, stored: StoredFile) -> File:
        async with self.database.transaction() as session:
            files = FileRepository(session)
            row = await files.get(file_id)
            if row is not None:
                row.state, row.expires_at = "ready", None
                row.media_type, row.size, row.sha256 = media_type, stored.size, stored.sha256
                session.after_commit(partial(self.storage.delete, incoming_key(file_id)))
                return _file(await files.save(row), stored.sha256)
        await self.storage.delete(stored_key(file_id))
        raise UploadExpired("It was cancelled.")

    async def _give_up(self, file_id: FileId, *, is_stored: bool = False) -> None:
        """Take away what there is of a file that won't be; what can't be, the sweep takes.

        Content goes only if its row was pending and is gone: an error of a commit does not tell
        whether it took place.
        """
        with suppress(Unavailable):
            async with self.database.transaction() as session:
                was_pending = await FileRepository(session).delete_pending(file_id)
                if was_pending and is_stored:
                    session.after_commit(partial(self.storage.delete, stored_key(file_id)))


async def _peeked(chunks: AsyncIterator[bytes]) -> tuple[bytes, AsyncIterator[bytes]]:
    """Return the first bytes, and all of them: those first ones are not lost."""
    head = bytearray()
    async for chunk in chunks:
        head += chunk
        if len(head) >= SNIFFED_BYTES:
            break

    async def from_the_start() -> AsyncIterator[bytes]:
        yield bytes(head)
        async for chunk in chunks:
            yield chunk

    return bytes(head[:SNIFFED_BYTES]), from_the_start()


def _file(row: models.File, sha256: str) -> File:
    return File(
        id=FileId(row.id),
        name=row.name,
        media_type=row.media_type,
        size=row.size,
        sha256=sha256,
        created_at=row.created_at,
    )


def _place(row: models.File) -> PendingFile:
    return PendingFile(
        id=FileId(row.id),
        owner_id=UserId(row.owner_id),
        name=row.name,
        media_type=row.media_type,
        size=row.size,
        sha256=row.sha256,
        state=row.state,
        created_at=row.created_at,
        expires_at=row.expires_at,
    )
