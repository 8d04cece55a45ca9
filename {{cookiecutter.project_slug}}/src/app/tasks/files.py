"""Tasks of files."""

from dataclasses import dataclass

from app.domain.files import INCOMING, STORED
from app.domain.users import AccountCleanup
from app.resources import Resources


@dataclass(frozen=True, slots=True)
class DeleteFiles(AccountCleanup):
    """Delete the content of a deleted account's files."""


async def delete_files(job: DeleteFiles, resources: Resources) -> None:
    """Delete all content; that of an upload in progress is deleted at its end."""
    for prefix in (STORED, INCOMING):
        async for stored in resources.storage.list(f"{prefix}{job.user_id}/"):
            await resources.storage.delete(stored.key)
