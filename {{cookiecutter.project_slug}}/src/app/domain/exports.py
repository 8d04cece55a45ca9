"""Exports: files that a job makes of many rows."""

from dataclasses import dataclass

from app.core.ports import Job
from app.domain.items import ExportFormat, ItemFilter
from app.domain.tracking import JobId
from app.domain.users import UserId

EXPORTS = "exports/"
"""What the keys of exported files begin with."""


@dataclass(frozen=True, slots=True)
class ExportItems(Job):
    """Write an owner's items to a file.

    Attributes:
        job_id: Its own id. The name of the file is made of it, so that a second try replaces what
            the first one wrote.
    """

    job_id: JobId
    owner_id: UserId
    wanted: ItemFilter
    format: ExportFormat

    @property
    def key(self) -> str:
        """Where the file store keeps the file."""
        return f"{EXPORTS}{self.job_id}.{self.format}"


@dataclass(frozen=True, slots=True)
class RemoveExports(Job):
    """Delete the files whose life span is over."""


@dataclass(frozen=True, slots=True)
class Prune(Job):
    """Delete the rows that nobody needs any more."""
