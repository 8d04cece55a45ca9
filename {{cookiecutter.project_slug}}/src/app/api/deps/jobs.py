"""Dependencies of jobs."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Annotated

from fastapi import Depends

from app.api.deps.common import ResourcesDep
from app.domain.tracking import QueueUnavailable
from app.infrastructure.http.problems import raises
from app.services.jobs import JobService


@raises(QueueUnavailable)
async def get_job_service(resources: ResourcesDep) -> JobService:
    """Return the service of jobs."""
    return JobService(resources.queue.tracked, resources.storage)


async def get_download() -> AsyncIterator[AsyncExitStack]:
    """Yield a stack that closes a file after its last byte, or when the client disconnects."""
    async with AsyncExitStack() as stack:
        yield stack


JobServiceDep = Annotated[JobService, Depends(get_job_service)]
DownloadDep = Annotated[AsyncExitStack, Depends(get_download, scope="request")]
