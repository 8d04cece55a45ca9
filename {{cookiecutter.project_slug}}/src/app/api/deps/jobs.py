"""Dependencies of jobs."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Annotated

from fastapi import Depends

from app.api.deps.inline import on_loop
from app.api.deps.resources import ResourcesDep
from app.domain.tracking import QueueUnavailable
from app.infrastructure.http.problems import raises
from app.services.jobs import JobService
from app.wiring.jobs import job_service


@on_loop
@raises(QueueUnavailable)
def get_job_service(resources: ResourcesDep) -> JobService:
    """Return what starts jobs and tells of them; stands on the resources."""
    return job_service(resources)


async def get_download() -> AsyncIterator[AsyncExitStack]:
    """Yield what closes a file after its last byte, or after the client left; stands on nothing."""
    async with AsyncExitStack() as stack:
        yield stack


JobServiceDep = Annotated[JobService, Depends(get_job_service)]
DownloadDep = Annotated[AsyncExitStack, Depends(get_download, scope="request")]
