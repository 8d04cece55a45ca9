"""Who does which kind of job in a worker."""

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import structlog

from app.core.clock import utc_now
from app.core.storage import FileStore
from app.domain.exports import EXPORTS, ExportItems, Prune, RemoveExports
from app.domain.items import ITEM_COLUMNS, Item
from app.domain.tracking import JobFile, JobId, QueueUnavailable
from app.infrastructure.database import Database
from app.infrastructure.http.streaming import MEDIA_TYPES, exported
from app.infrastructure.mail import build_mailer
from app.repositories.items import ItemRepository
from app.resources import Resources
from app.services.handlers import Handlers, common_handlers
from app.services.jobs import JobNotes

logger = structlog.stdlib.get_logger(__name__)


def worker_handlers(resources: Resources, notes: JobNotes) -> Handlers:
    """Return the handlers of all jobs.

    Args:
        resources: What they stand on.
        notes: Where they leave word of how far they are.
    """
    settings = resources.settings
    removal = ExportRemoval(resources.storage, settings.jobs.result_seconds)

    async def prune(_: Prune) -> None:
        logger.info("pruned", report=await resources.prune())

    handlers = common_handlers(build_mailer(settings.mail))
    handlers.add(ExportItems, ItemExport(resources.database, resources.storage, notes).write)
    handlers.add(RemoveExports, removal.remove)
    handlers.add(Prune, prune)
    return handlers


@dataclass(frozen=True, slots=True)
class ItemExport:
    """Writes items to a file, as they are at one moment, in constant memory."""

    database: Database
    files: FileStore
    notes: JobNotes

    async def write(self, job: ExportItems) -> None:
        """Write the file. A second try replaces what the first one wrote, whole or not at all.

        Raises:
            Unavailable: The database, the file store or the queue does not answer.
        """
        media_type = MEDIA_TYPES[job.format]
        async with self.database.snapshot() as connection:
            batches = ItemRepository(connection).stream(job.owner_id, job.wanted)
            counted = self._counted(batches, job.job_id)
            text = exported(counted, columns=ITEM_COLUMNS, chosen=job.format)
            stored = await self.files.put(job.key, text, media_type=media_type)
        file = JobFile(
            key=job.key,
            media_type=media_type,
            filename=f"items.{job.format}",
            size=stored.size,
            sha256=stored.sha256,
        )
        await self.notes.result(job.job_id, file)

    async def _counted(
        self, batches: AsyncIterator[Sequence[Item]], job_id: JobId
    ) -> AsyncIterator[Sequence[Item]]:
        written = 0
        async for batch in batches:
            yield batch
            written += len(batch)
            # Worth knowing, and not worth failing for.
            with suppress(QueueUnavailable):
                await self.notes.progress(job_id, written)


@dataclass(frozen=True, slots=True)
class ExportRemoval:
    """Deletes exported files that are older than their results."""

    files: FileStore
    life_seconds: int

    async def remove(self, _: RemoveExports) -> None:
        """Delete them, with what exports that were killed have left.

        Raises:
            FileStoreUnavailable: The file store does not answer.
        """
        before = utc_now() - timedelta(seconds=self.life_seconds)
        removed = 0
        # In order: there are few at a time, and the store has others to serve.
        async for stored in self.files.list(EXPORTS):
            if stored.modified_at < before:
                await self.files.delete(stored.key)
                removed += 1
        unfinished = await self.files.abort_unfinished(before)
        logger.info("exports removed", removed=removed, unfinished=unfinished)
