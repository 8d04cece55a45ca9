"""Direct uploads: announced to the service, put into the store by the client, then completed."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.core.clock import utc_now
from app.core.config.storage import StorageSettings
from app.core.ids import new_id
from app.core.storage import FileStore, FileStoreUnavailable, ObjectNotFound
from app.domain.files import (
    AnnouncedFile,
    ContentId,
    File,
    FileId,
    FileNotFound,
    FileTooLarge,
    PendingFile,
    QuotaExceeded,
    UploadExpired,
    UploadIncomplete,
    incoming_key,
    stored_key,
)
from app.domain.users import UserId
from app.infrastructure.database import Database
from app.infrastructure.storage import SignedRequest, Storage
from app.repositories.files import FileRepository
from app.services.file_lifecycle import FileLifecycle
from app.services.media_types import require_allowed


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
    storage: FileStore
    direct: Storage
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
            request = await self.direct.signed_put(
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
