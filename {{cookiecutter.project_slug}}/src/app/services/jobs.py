"""Jobs that somebody asks for and comes back for."""

import hashlib
from dataclasses import asdict, dataclass
from typing import Protocol

from app.core.ids import new_id
from app.core.ports import Job
from app.core.storage import Content, FileStore
from app.domain.exports import ExportItems
from app.domain.items import ExportFormat, ItemFilter
from app.domain.tracking import JobFile, JobFinished, JobId, JobNotDone, JobNotFound, TrackedJob
from app.domain.users import UserId


class TrackedJobs(Protocol):
    """Takes jobs that somebody will ask about.

    Every method raises `QueueUnavailable` if the queue does not answer in time.
    """

    async def submit(self, job_id: JobId, job: Job, *, owner_id: UserId, unique: str) -> JobId:
        """Take a job.

        Args:
            job_id: A new id.
            job: What is to be done.
            owner_id: Who may ask about it.
            unique: While another job of this name waits or runs, that one is meant.

        Returns:
            The id of the job that will be done.

        Raises:
            TooManyJobs: Its owner has as many that wait or run as one may have.
        """

    async def find(self, job_id: JobId) -> TrackedJob | None:
        """Return a job, as long as it is remembered."""

    async def cancel(self, job_id: JobId) -> None:
        """End a job as soon as it can be."""


class JobNotes(Protocol):
    """Where a job leaves word while it is done.

    Every method raises `QueueUnavailable` if the queue does not answer in time.
    """

    async def progress(self, job_id: JobId, done: int) -> None:
        """Note how many things are done so far."""

    async def result(self, job_id: JobId, file: JobFile) -> None:
        """Note the file that was made."""


@dataclass(frozen=True, slots=True)
class JobService:
    """Starts jobs, and tells their owners of them; another's are not found."""

    jobs: TrackedJobs
    files: FileStore

    async def export_items(
        self, owner_id: UserId, wanted: ItemFilter, chosen: ExportFormat
    ) -> TrackedJob:
        """Start an export, or return the one that is under way for the same items.

        Raises:
            TooManyJobs: The owner has as many jobs that wait or run as one may have.
            QueueUnavailable: The queue does not take it.
        """
        job_id = JobId(new_id())
        job = ExportItems(job_id=job_id, owner_id=owner_id, wanted=wanted, format=chosen)
        criteria = repr((chosen, sorted(asdict(wanted).items()))).encode()
        unique = f"items-export:{owner_id}:{hashlib.sha256(criteria).hexdigest()[:32]}"
        taken = await self.jobs.submit(job_id, job, owner_id=owner_id, unique=unique)
        return await self.one(owner_id, taken)

    async def one(self, owner_id: UserId, job_id: JobId) -> TrackedJob:
        """Return one job.

        Raises:
            JobNotFound: The owner has none of this id.
            QueueUnavailable: The queue does not answer.
        """
        job = await self.jobs.find(job_id)
        if job is None or job.owner_id != owner_id:
            raise JobNotFound
        return job

    async def cancel(self, owner_id: UserId, job_id: JobId) -> None:
        """Cancel a job; one that runs ends a moment later.

        Raises:
            JobNotFound: The owner has none of this id.
            JobFinished: It is over.
            QueueUnavailable: The queue does not answer.
        """
        job = await self.one(owner_id, job_id)
        if job.state in {"done", "failed"}:
            raise JobFinished
        await self.jobs.cancel(job_id)

    async def file(self, owner_id: UserId, job_id: JobId) -> JobFile:
        """Return the file that a job has made.

        Raises:
            JobNotFound: The owner has none of this id.
            JobNotDone: It has made none.
            QueueUnavailable: The queue does not answer.
        """
        job = await self.one(owner_id, job_id)
        if job.result is None:
            raise JobNotDone(f"The job is {job.state}.")
        return job.result

    def open(self, file: JobFile) -> Content:
        """Yield the facts and the bytes of a job's file.

        Raises:
            ObjectNotFound: Its life span is over.
            FileStoreUnavailable: The file store does not give it.
        """
        return self.files.open(file.key)
