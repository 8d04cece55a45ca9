"""Jobs that their owners follow."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from app.core.jobs import JobFile, JobFinished, JobNotDone, JobNotFound, JobStatus, TrackedJob
from app.core.storage import Content
from app.infrastructure.jobs import JobStore
from app.infrastructure.storage import Storage

EXPORTS: Final = "exports/"
"""Prefix of the keys of jobs' files, which are deleted when their results expire."""


@dataclass(frozen=True, slots=True)
class JobService:
    """Starts jobs, and shows them to their owners.

    Each method raises `QueueUnavailable` if the queue does not answer.
    """

    jobs: JobStore
    files: Storage

    async def start(self, job: TrackedJob, *, unique: str) -> JobStatus:
        """Start a job, or return the unfinished one of the same unique name."""
        return await self.one(job.owner_id, await self.jobs.start(job, unique=unique))

    async def one(self, owner_id: UUID, job_id: UUID) -> JobStatus:
        """Return a job.

        Raises:
            JobNotFound: The owner has no such job.
        """
        job = await self.jobs.find(job_id)
        if job is None or job.owner_id != owner_id:
            raise JobNotFound
        return job

    async def cancel(self, owner_id: UUID, job_id: UUID) -> None:
        """Cancel a job; one that is running ends a moment later.

        Raises:
            JobFinished: It has ended.
        """
        job = await self.one(owner_id, job_id)
        if job.state in {"done", "failed"}:
            raise JobFinished
        await self.jobs.cancel(job_id)

    async def file(self, owner_id: UUID, job_id: UUID) -> JobFile:
        """Return the file of a job.

        Raises:
            JobNotDone: It has no file, or not yet.
        """
        job = await self.one(owner_id, job_id)
        if job.result is None:
            raise JobNotDone(f"The job is {job.state}.")
        return job.result

    def open(self, file: JobFile) -> Content:
        """Open a job's file."""
        return self.files.open(file.key)
