"""Uploads: keep the rows of files and their content consistent, whatever fails in between.

A pending row comes first and reserves space in its owner's quota. Then the content is stored, under
a key of this attempt alone. Then the row becomes ready and names that content, for good. Deletion
takes the row first. So a ready row always has its content, and content without a ready row is
unfinished work: the request that stored it deletes it, or `FileSweep` does after it has expired.
Signed requests that a client may still send count towards the quota. No database connection is held
while bytes flow.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog

from app.core.clock import utc_now
from app.core.config.storage import StorageSettings
from app.core.errors import FieldError, InvalidInput, InvalidToken, Unavailable
from app.core.ids import new_id
from app.core.storage import FileStoreUnavailable, ObjectNotFound, StoredFile
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
    TooManyUploads,
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
class SignedUpload:
    """A pending file, and the request that uploads its content."""

    id: FileId
    created_at: datetime
    request: SignedRequest
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Reservations:
    """Reserve space for files, in the transaction of the repositories."""

    files: FileRepository
    users: UserRepository
    storage: Storage
    settings: StorageSettings

    async def announce(self, owner_id: UserId, file: AnnouncedFile) -> SignedUpload:
        """Reserve space for a direct upload, and sign its request.

        Raises:
            InvalidToken: The account was deleted meanwhile.
            QuotaExceeded: The quota has no room for it.
            TooManyUploads: Too many uploads of the account are unfinished.
            FileTooLarge: It is too large.
            UnsupportedFileType: Its type is not allowed.
            FileStoreUnavailable: There are no credentials to sign with.
        """
        if file.size > self.settings.max_file_bytes:
            raise FileTooLarge(f"The maximum size is {self.settings.max_file_bytes} bytes.")
        require_allowed(file.media_type, self.settings.media_types)
        file_id, seconds = FileId(new_id()), self.settings.presign_seconds
        expires_at = utc_now() + timedelta(seconds=seconds)
        # Signed first: it may wait for credentials, and the reservation locks the owner's row.
        request = await self.storage.signed_put(
            incoming_key(owner_id, file_id),
            size=file.size,
            media_type=file.media_type,
            sha256=file.sha256,
            seconds=seconds,
        )
        pending = await self.reserve(file_id, owner_id, file, file.size)
        if pending.size < file.size:
            raise QuotaExceeded
        return SignedUpload(pending.id, pending.created_at, request, expires_at)

    async def reserve(
        self, file_id: FileId, owner_id: UserId, file: IncomingFile | AnnouncedFile, at_most: int
    ) -> PendingFile:
        """Reserve space for a file: `at_most` bytes, or as many as the quota has left.

        The owner's row is locked until the end of the transaction, so that no two uploads get the
        same space. Expired uploads of the owner are removed first.
        """
        now = utc_now()
        signed_until = now + timedelta(seconds=self.settings.presign_seconds)
        if await self.users.lock(owner_id) is None:
            raise InvalidToken
        expired = await self.files.give_up_expired(now, owner_id=owner_id)
        keys = [incoming_key(owner_id, each) for each in expired]
        self.files.after_commit(partial(remove, self.storage, self.settings, *keys))
        usage = await self.files.usage(owner_id)
        room = self.settings.quota_bytes - usage.size
        if room <= 0 or usage.files >= self.settings.quota_files:
            raise QuotaExceeded(files=usage.files, size=usage.size)
        if usage.unfinished >= self.settings.unfinished_uploads:
            raise TooManyUploads("Complete or delete one first, or wait until one expires.")
        return await self.files.create(
            owner_id,
            id=file_id,
            name=safe_name(file.name),
            # The declared type of an incoming file is checked with its content.
            media_type=file.media_type if isinstance(file, AnnouncedFile) else UNKNOWN,
            size=min(at_most, room),
            sha256=file.sha256 if isinstance(file, AnnouncedFile) else None,
            signed_until=signed_until if isinstance(file, AnnouncedFile) else None,
            created_at=now,
            expires_at=now + timedelta(seconds=self.settings.upload_seconds),
        )


@dataclass(frozen=True, slots=True)
class Uploads:
    """Uploads through the service, and the end of direct ones; opens short transactions."""

    database: Database
    storage: Storage
    settings: StorageSettings

    async def upload(self, owner_id: UserId, incoming: IncomingFile) -> File:
        """Store a file in constant memory; if anything fails, neither row nor content is left.

        Raises:
            InvalidToken: The account was deleted meanwhile.
            QuotaExceeded: The quota has no room for it.
            TooManyUploads: Too many uploads of the account are unfinished.
            FileTooLarge: It is too large.
            UnsupportedFileType: Its type is unknown or not allowed.
            FileTypeMismatch: Its content has another type.
            InvalidInput: It is empty.
            UploadExpired: It took too long, or was deleted meanwhile.
            FileStoreUnavailable: The store failed.
        """
        largest = self.settings.max_file_bytes
        at_most = largest if incoming.at_most is None else min(largest, incoming.at_most)
        async with self.database.transaction() as session:
            files, users = FileRepository(session), UserRepository(session)
            reservations = Reservations(files, users, self.storage, self.settings)
            pending = await reservations.reserve(FileId(new_id()), owner_id, incoming, at_most)
        content_id, stored = ContentId(new_id()), None
        key = stored_key(owner_id, pending.id, content_id)
        try:
            async with asyncio.timeout(self.settings.upload_seconds):
                chunks = self._within(pending.size, incoming.chunks)
                media_type, stored = await self._store(key, incoming.media_type, chunks)
            return await self._make_ready(owner_id, pending.id, content_id, media_type, stored)
        except BaseException as error:
            await self._give_up(pending.id, *([] if stored is None else [key]))
            if isinstance(error, TimeoutError):
                raise UploadExpired("The upload took too long.") from error
            raise

    async def complete(self, owner_id: UserId, file_id: FileId) -> File:
        """Verify the content of a direct upload, and make it a file.

        Every byte is read and copied to where the client, whose request is still valid, can't
        overwrite it. Of concurrent attempts one succeeds, and the others return its file.

        Raises:
            FileNotFound: The owner has no such upload.
            UploadExpired: It took too long.
            UploadIncomplete: The content is missing, or other than announced.
            UnsupportedFileType: Its type is unknown or not allowed.
            FileTypeMismatch: Its content has another type.
            FileStoreUnavailable: The store failed.
        """
        pending, file = await self._announced(owner_id, file_id)
        if file is not None:
            return file
        if pending is None or pending.sha256 is None or pending.state != "pending":
            raise FileNotFound
        if pending.expires_at is None or pending.expires_at <= utc_now():
            raise UploadExpired("The upload has expired.")
        content_id = ContentId(new_id())
        key = stored_key(owner_id, file_id, content_id)
        try:
            async with (
                asyncio.timeout((pending.expires_at - utc_now()).total_seconds()),
                self.storage.open(incoming_key(owner_id, file_id)) as (size, chunks),
            ):
                if size != pending.size:
                    raise UploadIncomplete("The size differs from the announced one.")
                media_type, stored = await self._store(key, pending.media_type, chunks)
        except (ObjectNotFound, FileStoreUnavailable) as error:
            # A concurrent attempt that succeeds deletes the object that is read here.
            _, file = await self._announced(owner_id, file_id)
            if file is not None:
                return file
            if isinstance(error, ObjectNotFound):
                raise UploadIncomplete("Nothing has been uploaded yet.") from None
            raise
        except TimeoutError as error:
            raise UploadExpired("The upload has expired.") from error
        if stored.sha256 != pending.sha256:
            await remove(self.storage, self.settings, key)
            raise UploadIncomplete("The SHA-256 differs from the announced one.")
        return await self._make_ready(owner_id, file_id, content_id, media_type, stored)

    async def _store(
        self, key: str, declared: str | None, chunks: AsyncIterator[bytes]
    ) -> tuple[str, StoredFile]:
        """Store content if its beginning matches the declared type; return its type."""
        head, chunks = await peeked(chunks)
        if not head:
            raise InvalidInput(FieldError("body.file", "The file is empty", "file_empty"))
        media_type = identified(declared, head, self.settings.media_types)
        stored = await self.storage.put(key, chunks, media_type=media_type)
        return media_type, stored

    async def _make_ready(
        self,
        owner_id: UserId,
        file_id: FileId,
        content_id: ContentId,
        media_type: str,
        stored: StoredFile,
    ) -> File:
        """Mark a file as ready, with this content unless it has that of another attempt.

        Content is deleted only if its row certainly does not name it. If the commit fails, that is
        unknown, and left to the sweep.
        """
        file = None
        async with self.database.transaction() as session:
            files = FileRepository(session)
            row = await files.lock(file_id)
            if row is not None and row.state == "pending":
                if row.signed_until is not None:
                    session.after_commit(self._removal(incoming_key(owner_id, file_id)))
                return await files.complete(
                    row, content_id, media_type, size=stored.size, sha256=stored.sha256
                )
            if row is not None and row.state == "ready":
                file = await files.get(owner_id, file_id)
        await remove(self.storage, self.settings, stored_key(owner_id, file_id, content_id))
        if file is None:
            raise UploadExpired("The upload was cancelled.")
        return file

    async def _give_up(self, file_id: FileId, *keys: str) -> None:
        """Delete an incomplete file, and its content only if a row was deleted.

        If the commit fails, it may have taken place all the same: the sweep decides.
        """
        with suppress(Unavailable):
            async with self.database.transaction() as session:
                if await FileRepository(session).give_up(file_id):
                    session.after_commit(self._removal(*keys))

    def _removal(self, *keys: str) -> Callable[[], Awaitable[None]]:
        return partial(remove, self.storage, self.settings, *keys)

    async def _within(self, limit: int, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield bytes up to the limit, then fail."""
        size = 0
        async for chunk in chunks:
            size += len(chunk)
            if size > self.settings.max_file_bytes:
                raise FileTooLarge(f"The maximum size is {self.settings.max_file_bytes} bytes.")
            if size > limit:
                raise QuotaExceeded
            yield chunk

    async def _announced(
        self, owner_id: UserId, file_id: FileId
    ) -> tuple[PendingFile | None, File | None]:
        """Return the upload, and its file if it is complete."""
        async with self.database.read() as connection:
            files = FileRepository(connection)
            return await files.pending(owner_id, file_id), await files.get(owner_id, file_id)


async def remove(storage: Storage, settings: StorageSettings, *keys: str) -> None:
    """Delete objects within a time limit; the sweep deletes the rest."""
    try:
        async with asyncio.timeout(settings.removal_timeout), asyncio.TaskGroup() as group:
            for key in keys:
                group.create_task(storage.delete(key))
    except* (FileStoreUnavailable, TimeoutError):
        logger.warning("content left for the sweep", keys=keys)
