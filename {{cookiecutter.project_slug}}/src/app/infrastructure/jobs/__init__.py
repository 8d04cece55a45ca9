"""Jobs in Redis, run by workers."""

from app.infrastructure.jobs.connection import open_job_redis
from app.infrastructure.jobs.store import JobStore
from app.infrastructure.jobs.waiting import WaitingJobs

__all__ = ["JobStore", "WaitingJobs", "open_job_redis"]
