"""Dependencies of the job routes."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Annotated, Final

from fastapi import Depends, Security

from app.api.deps.auth import get_principal
from app.api.deps.common import ResourcesDep
from app.core.jobs import QueueUnavailable
from app.domain.auth import Principal
from app.infrastructure.http.problems import raises
from app.services.jobs import JobService

_PERMISSIONS: Final = [
    "items:read",
]
"""Permissions of the data that jobs write to files."""


@raises(QueueUnavailable)
async def get_job_service(resources: ResourcesDep) -> JobService:
    """Return the service of jobs."""
    return JobService(resources.job_store, resources.storage)


async def get_download() -> AsyncIterator[AsyncExitStack]:
    """Yield a stack that closes a file after its last byte, or when the client disconnects."""
    async with AsyncExitStack() as stack:
        yield stack


JobOwner = Annotated[Principal, Security(get_principal, scopes=_PERMISSIONS)]
JobServiceDep = Annotated[JobService, Depends(get_job_service)]
DownloadDep = Annotated[AsyncExitStack, Depends(get_download, scope="request")]
