"""Names of Redis keys, both arq's and ours.

A job stays in the queue, a sorted set by due time, while it runs: its worker holds the lease,
arq's `in-progress` key, which expires.
"""

from typing import Final
from uuid import UUID

from arq.constants import (
    abort_jobs_ss,
    default_queue_name,
    in_progress_key_prefix,
    job_key_prefix,
    result_key_prefix,
    retry_key_prefix,
)

JobId = UUID | str

QUEUE: Final = default_queue_name
CANCELLED: Final = abort_jobs_ss
"""Ids of running jobs to cancel."""
DEAD: Final = "arq:dead"
"""Ids of dead-lettered jobs, by time."""
WORKERS: Final = "arq:workers"
"""Ids of registered workers, some of which may have died."""


def payload(job_id: JobId) -> str:
    """Name the serialized job."""
    return f"{job_key_prefix}{job_id}"


def lease(job_id: JobId) -> str:
    """Name the id of the worker that runs a job."""
    return f"{in_progress_key_prefix}{job_id}"


def tries(job_id: JobId) -> str:
    """Name the number of attempts."""
    return f"{retry_key_prefix}{job_id}"


def done(job_id: JobId) -> str:
    """Name the marker of a finished job, which keeps arq from enqueueing its id again."""
    return f"{result_key_prefix}{job_id}"


def record(job_id: JobId) -> str:
    """Name the hash of a job's status."""
    return f"arq:record:{job_id}"


def unique(name: str) -> str:
    """Name the id of the job that has a unique name."""
    return f"arq:unique:{name}"


def unfinished(owner_id: UUID | str) -> str:
    """Name the sorted set of an owner's unfinished jobs."""
    return f"arq:unfinished:{owner_id}"


def ended(owner_id: UUID | str) -> str:
    """Name the sorted set of an owner's jobs that are done or cancelled, by time."""
    return f"arq:ended:{owner_id}"


def worker(worker_id: str) -> str:
    """Name the heartbeat of a worker, which expires."""
    return f"arq:worker:{worker_id}"
