"""Jobs in Redis, run by workers."""

from app.infrastructure.jobs.connection import open_job_redis
from app.infrastructure.jobs.store import JobStore
from app.infrastructure.jobs.waiting import QueueRelay, WaitingJobs

__all__ = ["JobStore", "QueueRelay", "WaitingJobs", "open_job_redis"]
