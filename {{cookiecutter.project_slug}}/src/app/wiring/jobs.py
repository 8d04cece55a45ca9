"""Jobs: which adapters their service gets."""

from app.resources import Resources
from app.services.jobs import JobService


def job_service(resources: Resources) -> JobService:
    """Return what starts jobs and tells of them."""
    return JobService(resources.queue.tracked, resources.storage)
