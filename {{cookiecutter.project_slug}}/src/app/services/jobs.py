"""Jobs that their owners follow."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from app.core.errors import InvalidToken
from app.core.jobs import (
    JobFile,
    JobFinished,
    JobNotDone,
    JobNotFound,
    JobStatus,
    QueueUnavailable,
    TooManyJobs,
    TrackedJob,
)
from app.core.storage import Content
from app.infrastructure.jobs import JobStore, WaitingJobs
from app.infrastructure.storage import Storage
from app.repositories.users import UserRepository

EXPORTS: Final = "exports/"
"""Prefix of the keys of jobs' files, which are deleted when their results expire."""


@dataclass(frozen=True, slots=True)
class JobService:
    """Starts jobs, and shows them to their owners.

    For a job that has reached the queue, each method but `start` raises `QueueUnavailable` if the
    queue does not answer.

    Attributes:
        quota: Unfinished jobs that a user may have.
    """

    users: UserRepository
    waiting: WaitingJobs
    jobs: JobStore
    files: Storage
    quota: int

    async def start(self, job: TrackedJob, *, unique: str) -> JobStatus:
        """Start a job, or return the unfinished one of the same unique name.

        While the queue does not answer, only jobs that have not reached it are known.

        Raises:
            TooManyJobs: The owner has too many unfinished jobs.
        """
        # Requests of one owner start jobs one after another.
        if await self.users.lock(job.owner_id) is None:
            raise InvalidToken
        waiting = await self.waiting.of_owner(job.owner_id)
        same = next((each.id for each in waiting if each.name == unique), None)
        unfinished = {each.id for each in waiting}
        if same is None:
            # After the outbox: whatever left it meanwhile is in the queue.
            with suppress(QueueUnavailable):
                same, queued = await self.jobs.unfinished(job.owner_id, unique)
                unfinished |= queued
        if same is not None:
            return await self.one(job.owner_id, same)
        if len(unfinished) >= self.quota:
            number = len(unfinished)
            raise TooManyJobs(f"You have {number} unfinished jobs. Cancel one, or retry later.")
        await self.waiting.add(job, unique)
        return await self.one(job.owner_id, job.id)

    async def one(self, owner_id: UUID, job_id: UUID) -> JobStatus:
        """Return a job.

        Raises:
            JobNotFound: The owner has no such job.
        """
        waiting = await self.waiting.find(job_id)
        job = waiting.status if waiting else await self.jobs.find(job_id)
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
        if not await self.waiting.cancel(job_id):
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
