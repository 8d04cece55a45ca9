"""Names of what is stored about jobs: arq's, and ours beside them.

A job waits in arq's queue, a sorted set by the moment at which it may begin, and stays there while
it is done: whoever does it holds the key `in_progress`, which lapses.
"""

from typing import Final

from arq.constants import (
    abort_jobs_ss,
    default_queue_name,
    in_progress_key_prefix,
    job_key_prefix,
    result_key_prefix,
    retry_key_prefix,
)

QUEUE: Final = default_queue_name
CANCELLED: Final = abort_jobs_ss
"""Ids of running jobs that somebody wants to end."""
DEAD: Final = "arq:dead"
"""Ids of jobs that were given up, by when."""
WORKERS: Final = "arq:workers"
"""Ids of all workers that have not said goodbye, dead ones among them."""


def payload(job_id: str) -> str:
    """Where a job is written down."""
    return job_key_prefix + job_id


def lease(job_id: str) -> str:
    """Who does a job just now."""
    return in_progress_key_prefix + job_id


def tries(job_id: str) -> str:
    """How often a job was begun."""
    return retry_key_prefix + job_id


def done(job_id: str) -> str:
    """That a job is over; arq takes none with the same id meanwhile."""
    return result_key_prefix + job_id


def record(job_id: str) -> str:
    """What is told of a job: a hash."""
    return f"arq:record:{job_id}"


def unique(name: str) -> str:
    """Which job is the one of this name."""
    return f"arq:unique:{name}"


def unfinished(owner_id: str) -> str:
    """Which jobs of a user wait or run: a sorted set, by when they were asked for."""
    return f"arq:unfinished:{owner_id}"


def worker(worker_id: str) -> str:
    """What a living worker says of itself; lapses."""
    return f"arq:worker:{worker_id}"
