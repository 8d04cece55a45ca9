"""Jobs: work that takes longer than a request."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import StreamingResponse

from app.api.deps.idempotency import IdempotencyDep
from app.api.deps.items import ItemViewer
from app.api.deps.jobs import DownloadDep, JobServiceDep
from app.api.schemas.jobs import ItemExportCreate, JobResponse
from app.core.storage import FileStoreUnavailable, ObjectNotFound
from app.domain.tracking import JobFinished, JobId, JobNotDone, JobNotFound, TooManyJobs
from app.infrastructure.http.problems import Responses, problems
from app.infrastructure.http.responses import location_of
from app.infrastructure.http.schemas import EXAMPLE_ID
from app.infrastructure.http.streaming import DOCUMENTED

router = APIRouter(prefix="/jobs", tags=["jobs"])

TAG = {"name": "jobs", "description": "Work that takes longer than a request: exports to files."}

_ACCEPTED: Final[Responses] = {
    202: {
        "headers": {
            "Location": {
                "description": "Path of the job (RFC 9110 §10.2.2).",
                "required": True,
                "schema": {"type": "string", "examples": [f"/api/v1/jobs/{EXAMPLE_ID}"]},
            }
        }
    }
}
JobIdPath = Annotated[UUID, Path(description="Which job.", examples=[EXAMPLE_ID])]


@router.post(
    "/items-export",
    status_code=202,
    summary="Start an export",
    responses=problems(TooManyJobs) | _ACCEPTED,
)
async def export_items_in_background(
    request: Request,
    owner: ItemViewer,
    _: IdempotencyDep,
    body: ItemExportCreate,
    jobs: JobServiceDep,
    response: Response,
) -> JobResponse:
    """Have your items written to a file, however many there are.

    While such an export of the same items is under way, the answer is that one; of different ones
    you can have some at a time. Ask for the job until it is done; its file can then be downloaded
    for a day, unless the service is set up otherwise.
    """
    job = await jobs.export_items(owner.id, body.filter.to_filter(), body.format)
    path = location_of(request, job.id, posted_to="/items-export")
    response.headers["Location"] = path
    return JobResponse.of(job, path)


@router.get("/{job_id}", status_code=200, summary="Read a job", responses=problems(JobNotFound))
async def get_job(
    request: Request, owner: ItemViewer, job_id: JobIdPath, jobs: JobServiceDep
) -> JobResponse:
    """Return how far one of your jobs is, and where its file is once it is done."""
    job = await jobs.one(owner.id, JobId(job_id))
    return JobResponse.of(job, request.scope["path"])


@router.delete(
    "/{job_id}",
    status_code=204,
    summary="Cancel a job",
    responses=problems(JobNotFound, JobFinished),
)
async def cancel_job(owner: ItemViewer, job_id: JobIdPath, jobs: JobServiceDep) -> None:
    """End one of your jobs. One that runs just now ends a moment later.

    To cancel one again changes nothing. One that is done or has failed is a conflict.
    """
    await jobs.cancel(owner.id, JobId(job_id))


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
    owner: ItemViewer, job_id: JobIdPath, jobs: JobServiceDep, download: DownloadDep
) -> StreamingResponse:
    """Download the file that one of your jobs has made."""
    file = await jobs.file(owner.id, JobId(job_id))
    size, chunks = await download.enter_async_context(jobs.open(file))
    return StreamingResponse(
        chunks,
        media_type=file.media_type,
        headers={
            "Content-Disposition": f'attachment; filename="{file.filename}"',
            "Content-Length": str(size),
        },
    )
