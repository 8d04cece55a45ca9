"""How the rows of files and their content stay together, whatever breaks in between.

A row comes first and is pending, which keeps room within its owner's quota. Then comes the content,
under a key that is this try's alone. Then the row becomes ready and names that content, for good.
Who deletes takes the row away first. So there is never a ready row without its content, and content
that no ready row names is somebody's unfinished work: who has stored it removes it, or `FileSweep`
does once its time is over. What a client may still put into the store by itself takes room. No
database connection is held while bytes flow.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import structlog

from app.core.clock import utc_now
from app.core.config.storage import StorageSettings
from app.core.errors import FieldError, InvalidInput, InvalidToken, Unavailable
from app.core.storage import FileStore, FileStoreUnavailable, StoredFile
from app.domain.files import (
    AnnouncedFile,
    ContentId,
    File,
    FileId,
    IncomingFile,
    PendingFile,
    QuotaExceeded,
    UploadExpired,
    incoming_key,
    safe_name,
    stored_key,
)
from app.domain.users import UserId
from app.infrastructure.database import Database
from app.repositories.files import FileRepository
from app.repositories.users import UserRepository
from app.services.media_types import UNKNOWN, identified, peeked

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
