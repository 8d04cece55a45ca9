"""Dependencies of the job routes."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Annotated, Final

from fastapi import Depends, Security

from app.api.deps.auth import get_principal
from app.api.deps.common import ResourcesDep
from app.api.deps.users import UserReaderDep, UserRepositoryDep
from app.core.jobs import QueueUnavailable
from app.domain.auth import Principal
from app.infrastructure.http.problems import raises
from app.infrastructure.jobs import WaitingJobs
from app.repositories.users import UserRepository
from app.resources import Resources
from app.services.jobs import JobService

_PERMISSIONS: Final = [
    "items:read",
]
"""Permissions of the data that jobs write to files."""


def job_service(resources: Resources, users: UserRepository) -> JobService:
    """Return the service on a repository."""
    return JobService(
        users=users,
        waiting=WaitingJobs(users.session, resources.relay.wake),
        jobs=resources.job_store,
        files=resources.storage,
        quota=resources.settings.jobs.unfinished_per_user,
    )


@raises(QueueUnavailable)
async def get_job_service(resources: ResourcesDep, users: UserRepositoryDep) -> JobService:
    """Return the service for starting and cancelling jobs."""
    return job_service(resources, users)


@raises(QueueUnavailable)
async def get_job_queries(resources: ResourcesDep, users: UserReaderDep) -> JobService:
    """Return the service for reading."""
    return job_service(resources, users)


async def get_download() -> AsyncIterator[AsyncExitStack]:
    """Yield a stack that closes a file after its last byte, or when the client disconnects."""
    async with AsyncExitStack() as stack:
        yield stack


JobOwner = Annotated[Principal, Security(get_principal, scopes=_PERMISSIONS)]
JobServiceDep = Annotated[JobService, Depends(get_job_service)]
JobQueriesDep = Annotated[JobService, Depends(get_job_queries)]
DownloadDep = Annotated[AsyncExitStack, Depends(get_download, scope="request")]
