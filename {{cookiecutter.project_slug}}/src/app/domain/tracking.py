"""Jobs that somebody waits for: how far they are, and what came of them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NewType
from uuid import UUID

from typing_extensions import TypeAliasType

from app.core.errors import Conflict, NotFound, Unavailable
from app.domain.users import UserId

JobId = NewType("JobId", UUID)
JobState = TypeAliasType("JobState", Literal["queued", "running", "done", "failed", "cancelled"])


@dataclass(frozen=True, slots=True)
class JobFile:
    """The file that a job has made.

    Attributes:
        key: Where the file store keeps it.
        filename: What a download of it is called.
        size: Its length in bytes.
        sha256: Its hash, in hexadecimal digits.
    """

    key: str
    media_type: str
    filename: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class TrackedJob:
    """A job as its owner sees it.

    Attributes:
        kind: The name of its type.
        progress: How many things are done so far, such as rows that were written.
        tries: How often it was begun.
        result: The file that it has made, once it is done.
    """

    id: JobId
    kind: str
    owner_id: UserId
    state: JobState
    progress: int
    tries: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    result: JobFile | None


class JobNotFound(NotFound):
    """No such job, or another's, or its outcome was kept long enough."""

    code = "job_not_found"
    title = "There is no such job"


class JobNotDone(Conflict):
    """There is no result: not yet, or never."""

    code = "job_not_done"
    title = "The job has no result"


class JobFinished(Conflict):
    """What is over can't be cancelled."""

    code = "job_finished"
    title = "The job is over"


class TooManyJobs(Conflict):
    """A user has as many unfinished jobs as anybody may have."""

    code = "too_many_jobs"
    title = "Too many of your jobs wait or run"


class QueueUnavailable(Unavailable):
    """The queue does not take or tell anything right now."""

    code = "queue_unavailable"
    title = "The queue of jobs is not available right now"
