"""Tasks of items."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

from app.core.jobs import JobFile, QueueUnavailable, TrackedJob
from app.domain.items import ITEM_COLUMNS, Item, ItemFilter
from app.domain.users import UserId
from app.infrastructure.http.streaming import MEDIA_TYPES, ExportFormat, exported
from app.repositories.items import ItemRepository
from app.repositories.users import UserRepository
from app.resources import Resources
from app.services.jobs import EXPORTS


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportItems(TrackedJob):
    """Write the owner's items to a file."""

    wanted: ItemFilter
    format: ExportFormat

    @property
    def key(self) -> str:
        """Key of the file: a second try replaces the file of the first."""
        return f"{EXPORTS}{self.owner_id}/{self.id}.{self.format}"

    @property
    def unique(self) -> str:
        """Name of the export: equal exports of an owner run once at a time."""
        criteria = repr((self.format, sorted(asdict(self.wanted).items()))).encode()
        return f"items-export:{self.owner_id}:{hashlib.sha256(criteria).hexdigest()[:32]}"


async def export_items(job: ExportItems, resources: Resources) -> None:
    """Write a snapshot of the items, and delete old exports.

    It takes constant memory. Of the exports over the limit, the oldest are deleted: keys sort by
    the age of the jobs.
    """
    written = 0

    async def counted(batches: AsyncIterator[Sequence[Item]]) -> AsyncIterator[Sequence[Item]]:
        nonlocal written
        async for batch in batches:
            yield batch
            written += len(batch)
            # A failed progress update must not fail the export.
            with suppress(QueueUnavailable):
                await resources.job_store.set_progress(job.id, written)

    media_type = MEDIA_TYPES[job.format]
    async with resources.database.snapshot() as connection:
        batches = ItemRepository(connection).stream(job.owner_id, job.wanted)
        text = exported(counted(batches), columns=ITEM_COLUMNS, chosen=job.format)
        stored = await resources.storage.put(job.key, text, media_type=media_type)
    async with resources.database.read() as connection:
        owner = await UserRepository(connection).get(UserId(job.owner_id))
    kept = resources.settings.jobs.unfinished_per_user if owner else 0
    files = [each.key async for each in resources.storage.list(f"{EXPORTS}{job.owner_id}/")]
    for key in files[: max(0, len(files) - kept)]:
        await resources.storage.delete(key)
    file = JobFile(job.key, media_type, f"items.{job.format}", stored.size, stored.sha256)
    await resources.job_store.set_result(job.id, file)
