"""What crashes have left of files."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from app.core.config.storage import StorageSettings
from app.domain.clock import utc_now
from app.domain.files import INCOMING, STORED, FileId, id_in, incoming_key, stored_key
from app.repositories.files import FileReader, FileRepository
from app.services.file_store import FileStore
from app.services.ports import UnitsOfWork

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class FileSweep:
    """Removes what belongs to no file; nothing that is under way is touched."""

    database: UnitsOfWork
    storage: FileStore
    settings: StorageSettings

    async def sweep(self) -> dict[str, int]:
        """Remove what was left behind, and say how much of what it was.

        Raises:
            FileStoreUnavailable: The store does not answer. What is left then, is left for later.
        """
        begun_before = utc_now() - timedelta(seconds=self.settings.upload_seconds)
        return {
            "expired uploads": await self._expired(),
            "objects without a file": await self._orphans(STORED) + await self._orphans(INCOMING),
            "unfinished parts": await self.storage.abort_unfinished(begun_before),
        }

    async def _expired(self) -> int:
        """Give up the places of uploads whose time is over, and then what came of them."""
        swept = 0
        while True:
            async with self.database.read() as connection:
                expired = await FileReader(connection).expired(utc_now(), _AT_ONCE)
            if not expired:
                return swept
            async with self.database.transaction() as session:
                files = FileRepository(session)
                # In order: one connection does one thing at a time.
                for file_id in expired:
                    if await files.delete_pending(file_id):
                        swept += 1
                        for key in (stored_key(file_id), incoming_key(file_id)):
                            session.after_commit(partial(self.storage.delete, key))

    async def _orphans(self, prefix: str) -> int:
        """Remove content that no row speaks for: rows come before their content does."""
        swept = 0
        async for keys in self._batches(prefix):
            async with self.database.read() as connection:
                states = await FileReader(connection).states(list(keys.values()))
            needed = {"pending", "ready"} if prefix == STORED else {"pending"}
            # In order: thousands at once would be an attack on the store.
            for key, file_id in keys.items():
                if states.get(file_id) not in needed:
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
