"""Uploads: keep the rows of files and their content consistent, whatever fails in between.

A pending row comes first and reserves space in its owner's quota. Then the content is stored, under
a key of this attempt alone. Then the row becomes ready and names that content, for good. Deletion
takes the row first. So a ready row always has its content, and content without a ready row is
unfinished work: whoever stored it deletes it, or `FileSweep` does after it has expired. Signed
requests that a client may still send count towards the quota. No database connection is held while
bytes flow.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog

from app.core.clock import utc_now
from app.core.config.storage import StorageSettings
from app.core.errors import FieldError, InvalidInput, InvalidToken, Unavailable
from app.core.ids import new_id
from app.core.storage import FileStore, FileStoreUnavailable, ObjectNotFound, StoredFile
from app.domain.files import (
    AnnouncedFile,
    ContentId,
    File,
    FileId,
    FileNotFound,
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
from app.domain.users import UserId
from app.infrastructure.database import Database
from app.infrastructure.storage import SignedRequest, Storage
from app.repositories.files import FileRepository
from app.repositories.users import UserRepository
from app.services.media_types import UNKNOWN, identified, peeked, require_allowed

logger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FileLifecycle:
    """The steps of a file from the room that is kept for it to the content that it names."""

    database: Database
    storage: FileStore
    settings: StorageSettings

    async def reserve(
        self, owner_id: UserId, file: IncomingFile | AnnouncedFile, at_most: int
    ) -> PendingFile:
        """Keep room for a file: as much as it can need, or as there is.

        The owner's row is locked meanwhile, so that two uploads don't get the same room. What was
        kept for uploads whose time is over is free from here on.

        Args:
            owner_id: Whose file it will be.
            file: What was said of it.
            at_most: How many bytes it can need.

        Returns:
            Its place, which may be of less than that.

        Raises:
            InvalidToken: The account was deleted meanwhile.
            QuotaExceeded: There is no room at all.
        """
        now = utc_now()
        signed_until = now + timedelta(seconds=self.settings.presign_seconds)
        async with self.database.transaction() as session:
            files = FileRepository(session)
            if await UserRepository(session).lock(owner_id) is None:
                raise InvalidToken
            over = await files.give_up_expired(now, owner_id=owner_id)
            session.after_commit(partial(self.remove, *map(incoming_key, over)))
            usage = await files.usage(owner_id)
            room = self.settings.quota_bytes - usage.size
            if room <= 0 or usage.files >= self.settings.quota_files:
                raise QuotaExceeded(files=usage.files, size=usage.size)
            return await files.create(
                owner_id,
                name=safe_name(file.name),
                # What a client says with the content is looked at with it, and not stored before.
                media_type=file.media_type if isinstance(file, AnnouncedFile) else UNKNOWN,
                size=min(at_most, room),
                sha256=file.sha256 if isinstance(file, AnnouncedFile) else None,
                signed_until=signed_until if isinstance(file, AnnouncedFile) else None,
                created_at=now,
                expires_at=now + timedelta(seconds=self.settings.upload_seconds),
            )

    async def store(
        self, key: str, declared: str | None, chunks: AsyncIterator[bytes]
    ) -> tuple[str, StoredFile]:
        """Store content whose beginning shows that it is what it says it is.

        Args:
            key: Where, by this try alone.
            declared: The type that the client says it is of, if it says so.
            chunks: The content.

        Returns:
            The type that it was found to be of, and what was stored.

        Raises:
            InvalidInput: It is empty.
            UnsupportedFileType: It is of a type that is not taken, or of none that is known.
            FileTypeMismatch: It is not what it says it is.
            FileStoreUnavailable: The store does not take it.
        """
        head, chunks = await peeked(chunks)
        if not head:
            fault = FieldError("body.file", "The file is empty", "file_empty")
            raise InvalidInput(fault)
        media_type = identified(declared, head, self.settings.media_types)
        stored = await self.storage.put(key, chunks, media_type=media_type)
        return media_type, stored

    async def make_ready(
        self, file_id: FileId, content_id: ContentId, media_type: str, stored: StoredFile
    ) -> File:
        """Have the row name this content, unless it names that of another try already.

        Content goes only if its row is known not to name it: should the commit fail, that is not
        known, and the sweep finds out.

        Args:
            file_id: The row.
            content_id: This content.
            media_type: The type that it was found to be of.
            stored: What was stored.

        Returns:
            The file, with the content that its row names now.

        Raises:
            UploadExpired: The row is gone, or cancelled.
        """
        file = None
        async with self.database.transaction() as session:
            files = FileRepository(session)
            row = await files.lock(file_id)
            if row is not None and row.state == "pending":
                if row.signed_until is not None:
                    session.after_commit(partial(self.remove, incoming_key(file_id)))
                return await files.complete(
                    row, content_id, media_type, size=stored.size, sha256=stored.sha256
                )
            if row is not None and row.state == "ready":
                file = await files.get(row.owner_id, file_id)
        await self.remove(stored_key(file_id, content_id))
        if file is None:
            raise UploadExpired("It was cancelled.")
        return file

    async def give_up(self, file_id: FileId, *keys: str) -> None:
        """Take away what there is of a file that won't be; what can't be, the sweep takes.

        Content goes only if its row was there, not ready, and is gone: an error of a commit does
        not tell whether it took place.

        Args:
            file_id: The row.
            keys: Where content was stored for it.
        """
        with suppress(Unavailable):
            async with self.database.transaction() as session:
                if await FileRepository(session).give_up(file_id):
                    session.after_commit(partial(self.remove, *keys))

    async def remove(self, *keys: str) -> None:
        """Remove what nobody needs, if the store is quick about it; what stays, the sweep takes."""
        try:
            async with asyncio.timeout(self.settings.removal_timeout), asyncio.TaskGroup() as group:
                for key in keys:
                    group.create_task(self.storage.delete(key))
        except* (FileStoreUnavailable, TimeoutError):
            logger.warning("content is left for the sweep", keys=keys)


@dataclass(frozen=True, slots=True)
class SignedUpload:
    """The place of a file, and the request that puts it there.

    Attributes:
        expires_at: When the request can no longer be sent.
    """

    id: FileId
    created_at: datetime
    request: SignedRequest
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class DirectUploads:
    """Takes files past the service. It opens its own transactions, short ones."""

    database: Database
    storage: Storage
    lifecycle: FileLifecycle
    settings: StorageSettings

    async def announce(self, owner_id: UserId, file: AnnouncedFile) -> SignedUpload:
        """Keep a place for a file that the client puts into the store itself.

        Raises:
            InvalidToken: The account was deleted meanwhile.
            QuotaExceeded: There is no room for it.
            FileTooLarge: It is larger than any may be.
            UnsupportedFileType: It is of a type that is not taken.
            FileStoreUnavailable: There is nothing to sign with.
        """
        if file.size > self.settings.max_file_bytes:
            raise FileTooLarge(f"At most {self.settings.max_file_bytes} bytes are accepted.")
        require_allowed(file.media_type, self.settings.media_types)
        place = await self.lifecycle.reserve(owner_id, file, file.size)
        if place.size < file.size:
            await self.lifecycle.give_up(place.id)
            raise QuotaExceeded
        seconds = self.settings.presign_seconds
        try:
            request = await self.storage.signed_put(
                incoming_key(place.id),
                size=file.size,
                media_type=file.media_type,
                sha256=file.sha256,
                seconds=seconds,
            )
        except FileStoreUnavailable:
            await self.lifecycle.give_up(place.id)
            raise
        expires_at = place.created_at + timedelta(seconds=seconds)
        return SignedUpload(place.id, place.created_at, request, expires_at)

    async def complete(self, owner_id: UserId, file_id: FileId) -> File:
        """Make a file of what the client has put into the store, if it is what was announced.

        Every byte is read, whatever the store may have checked, and what was read is kept where the
        client, whose request is still good for a while, can't change it any more. Of several tries
        at once, one makes the file, and the others find it made.

        Raises:
            FileNotFound: The owner has announced none of this id.
            UploadExpired: Its time is over.
            UploadIncomplete: It is not there, or it is not what was announced.
            UnsupportedFileType: It is of a type that is not taken, or of none that is known.
            FileTypeMismatch: It is not what it says it is.
            FileStoreUnavailable: The store does not give it.
        """
        place, file = await self._announced(owner_id, file_id)
        if file is not None:
            return file
        if place is None or place.sha256 is None or place.state != "pending":
            raise FileNotFound
        if place.expires_at is None or place.expires_at <= utc_now():
            raise UploadExpired("The time for this upload is over.")
        content_id = ContentId(new_id())
        key = stored_key(file_id, content_id)
        try:
            async with (
                asyncio.timeout((place.expires_at - utc_now()).total_seconds()),
                self.storage.open(incoming_key(file_id)) as (size, chunks),
            ):
                if size != place.size:
                    raise UploadIncomplete("It has another size than was announced.")
                media_type, stored = await self.lifecycle.store(key, place.media_type, chunks)
        except (ObjectNotFound, FileStoreUnavailable) as error:
            # Another try that has made the file takes away what is read here.
            _, file = await self._announced(owner_id, file_id)
            if file is not None:
                return file
            if isinstance(error, ObjectNotFound):
                raise UploadIncomplete("Nothing was uploaded yet.") from None
            raise
        except TimeoutError as error:
            raise UploadExpired("The time for this upload is over.") from error
        if stored.sha256 != place.sha256:
            await self.lifecycle.remove(key)
            raise UploadIncomplete("It has other bytes than were announced.")
        return await self.lifecycle.make_ready(file_id, content_id, media_type, stored)

    async def _announced(
        self, owner_id: UserId, file_id: FileId
    ) -> tuple[PendingFile | None, File | None]:
        """Return the place of a file, and the file if it is there already."""
        async with self.database.read() as connection:
            files = FileRepository(connection)
            return await files.pending(owner_id, file_id), await files.get(owner_id, file_id)
