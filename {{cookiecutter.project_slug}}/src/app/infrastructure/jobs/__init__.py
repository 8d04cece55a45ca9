"""Jobs in Redis, run by workers."""

from app.infrastructure.jobs.connection import open_job_redis
from app.infrastructure.jobs.queue import JobQueue
from app.infrastructure.jobs.store import JobStore

__all__ = ["JobQueue", "JobStore", "open_job_redis"]
