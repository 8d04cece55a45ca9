"""Jobs that their owners can follow: status, result and errors."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from typing_extensions import TypeAliasType

from app.core.errors import Conflict, NotFound, Unavailable
from app.core.ids import new_id
from app.core.ports import Job

JobState = TypeAliasType("JobState", Literal["queued", "running", "done", "failed", "cancelled"])


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedJob(Job):
    """A job whose owner can follow it: subclasses add its arguments."""

    id: UUID = field(default_factory=new_id)
    owner_id: UUID


@dataclass(frozen=True, slots=True)
class JobFile:
    """The file that a job has written: its key in the store, and headers of the download."""

    key: str
    media_type: str
    filename: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class JobStatus:
    """Status of a tracked job.

    Attributes:
        kind: Name of its class.
        progress: Work done so far, such as rows written.
        tries: Number of attempts.
        result: The file it wrote, once it is done.
    """

    id: UUID
    kind: str
    owner_id: UUID
    state: JobState
    progress: int
    tries: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    result: JobFile | None


class JobNotFound(NotFound):
    """The owner has no such job, or it has expired."""

    code = "job_not_found"
    title = "Job not found"


class JobNotDone(Conflict):
    """There is no result, or not yet."""

    code = "job_not_done"
    title = "Job result not available"


class JobFinished(Conflict):
    """A finished job cannot be cancelled."""

    code = "job_finished"
    title = "Job already finished"


class TooManyJobs(Conflict):
    """The owner has too many unfinished jobs."""

    code = "too_many_jobs"
    title = "Too many unfinished jobs"


class QueueUnavailable(Unavailable):
    """The queue does not answer."""

    code = "queue_unavailable"
    title = "Job queue unavailable"
