"""Removal of leftovers of files."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

from app.core.clock import utc_now
from app.core.config.storage import StorageSettings
from app.core.storage import FileStore
from app.domain.files import INCOMING, STORED, ContentId, FileId, FileState, id_in, stored_key
from app.infrastructure.database import Database
from app.repositories.files import FileRepository

_AT_ONCE = 500


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
