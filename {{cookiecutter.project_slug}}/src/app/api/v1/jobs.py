"""Jobs: status, cancellation and results."""

from typing import Annotated
from uuid import UUID

from fastapi import Path, Request
from fastapi.responses import StreamingResponse

from app.api.deps.jobs import DownloadDep, JobOwner, JobQueriesDep, JobServiceDep
from app.api.schemas.jobs import JobResponse
from app.core.jobs import JobFinished, JobNotDone, JobNotFound
from app.core.storage import FileStoreUnavailable, ObjectNotFound
from app.infrastructure.http.problems import problems
from app.infrastructure.http.routes import FeatureRouter
from app.infrastructure.http.schemas import EXAMPLE_ID
from app.infrastructure.http.streaming import DOCUMENTED

router = FeatureRouter(prefix="/jobs", tags=["jobs"])

TAG = {"name": "jobs", "description": "Long-running work, such as exports to files."}

JobIdPath = Annotated[UUID, Path(description="ID of the job.", examples=[EXAMPLE_ID])]


@router.get("/{job_id}", status_code=200, summary="Get a job", responses=problems(JobNotFound))
async def get_job(
    request: Request, owner: JobOwner, job_id: JobIdPath, jobs: JobQueriesDep
) -> JobResponse:
    """Retrieve the status of one of your jobs, and the path of its file once it is done."""
    return JobResponse.of(await jobs.one(owner.id, job_id), request.scope["path"])


@router.delete(
    "/{job_id}",
    status_code=204,
    summary="Cancel a job",
    responses=problems(JobNotFound, JobFinished),
)
async def cancel_job(owner: JobOwner, job_id: JobIdPath, jobs: JobServiceDep) -> None:
    """Cancel one of your jobs. A running job stops shortly afterwards.

    Cancelling a job again has no effect. A job that is done or has failed can't be cancelled.
    """
    await jobs.cancel(owner.id, job_id)


@router.get(
    "/{job_id}/result",
    status_code=200,
    summary="Download a job's file",
    response_class=StreamingResponse,
    responses={
        **problems(JobNotFound, ObjectNotFound, JobNotDone, FileStoreUnavailable),
        200: {"description": "The file.", **DOCUMENTED},
    },
)
async def get_job_result(
    owner: JobOwner, job_id: JobIdPath, jobs: JobQueriesDep, download: DownloadDep
) -> StreamingResponse:
    """Download the file written by one of your jobs."""
    file = await jobs.file(owner.id, job_id)
    size, chunks = await download.enter_async_context(jobs.open(file))
    return StreamingResponse(
        chunks,
        media_type=file.media_type,
        headers={
            "Content-Disposition": f'attachment; filename="{file.filename}"',
            "Content-Length": str(size),
        },
    )
