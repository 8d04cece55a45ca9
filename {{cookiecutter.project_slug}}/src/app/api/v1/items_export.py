"""Exports of items as jobs."""

from typing import Final

from fastapi import Request, Response

from app.api.deps.idempotency import IdempotencyDep
from app.api.deps.items import ItemViewer
from app.api.deps.jobs import JobServiceDep
from app.api.schemas.items_export import ItemExportCreate
from app.api.schemas.jobs import JobResponse
from app.core.jobs import TooManyJobs
from app.infrastructure.http.problems import Responses, problems
from app.infrastructure.http.routes import FeatureRouter
from app.infrastructure.http.schemas import EXAMPLE_ID
from app.tasks.items import ExportItems

router = FeatureRouter(prefix="/jobs", tags=["jobs"])

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


@router.post(
    "/items-export",
    status_code=202,
    summary="Start an export of items",
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
    """Export your items to a file in the background.

    If an export of the same items is unfinished, that job is returned. The number of unfinished
    jobs is limited. Poll the job until it is done; its file can then be downloaded, for a day by
    default.
    """
    export = ExportItems(owner_id=owner.id, wanted=body.filter.to_filter(), format=body.format)
    job = await jobs.start(export, unique=export.unique)
    path = f"{request.scope['path'].removesuffix('/items-export')}/{job.id}"
    response.headers["Location"] = path
    return JobResponse.of(job, path)
