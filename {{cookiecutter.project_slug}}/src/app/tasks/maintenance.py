"""Tasks of maintenance."""

from dataclasses import dataclass
from datetime import timedelta

import structlog

from app.core.clock import utc_now
from app.core.ports import Job
from app.domain.users import AccountCleanup
from app.resources import Resources
from app.services.jobs import EXPORTS
from app.tasks.pruning import delete_expired

logger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Prune(Job):
    """Delete expired rows."""


@dataclass(frozen=True, slots=True)
class DeleteExports(AccountCleanup):
    """Delete the status and files of a deleted account's jobs."""


@dataclass(frozen=True, slots=True)
class RemoveExports(Job):
    """Delete the files of jobs whose results have expired."""


async def prune(_: Prune, resources: Resources) -> None:
    """Delete expired rows."""
    logger.info("pruned", report=await delete_expired(resources))


async def delete_exports(job: DeleteExports, resources: Resources) -> None:
    """Delete all files; that of a running job is deleted at its end."""
    async for stored in resources.storage.list(f"{EXPORTS}{job.user_id}/"):
        await resources.storage.delete(stored.key)
    await resources.job_store.delete_ended(job.user_id)


async def remove_exports(_: RemoveExports, resources: Resources) -> None:
    """Delete expired files, and the remains of interrupted uploads."""
    before = utc_now() - timedelta(seconds=resources.settings.jobs.result_seconds)
    removed = 0
    # One at a time: there are few.
    async for stored in resources.storage.list(EXPORTS):
        if stored.modified_at < before:
            await resources.storage.delete(stored.key)
            removed += 1
    unfinished = await resources.storage.abort_unfinished(before)
    logger.info("exports removed", removed=removed, unfinished=unfinished)
