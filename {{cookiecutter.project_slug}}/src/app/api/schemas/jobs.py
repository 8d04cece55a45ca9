"""Jobs at the boundary."""

from datetime import datetime
from typing import Any, Self

from pydantic import Field

from app.api.schemas.items import ItemFilterQuery
from app.domain.items import ExportFormat
from app.domain.tracking import JobFile, JobState, TrackedJob
from app.infrastructure.http.schemas import EXAMPLE_ID, InputModel, ResourceResponse, ResponseModel

_SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_FILE: dict[str, Any] = {
    "href": f"/api/v1/jobs/{EXAMPLE_ID}/result",
    "media_type": "text/csv; charset=utf-8",
    "filename": "items.csv",
    "size": 48213,
    "sha256": _SHA256,
}


class ItemFilterRequest(ItemFilterQuery):
    """Which items are wanted; all of what is given must hold."""


class ItemExportCreate(InputModel):
    """What is to be exported."""

    format: ExportFormat = Field(
        "csv",
        description="CSV for spreadsheets (RFC 4180), NDJSON for programs.",
        examples=["ndjson"],
    )
    filter: ItemFilterRequest = Field(
        default_factory=lambda: ItemFilterRequest.model_validate({}),
        description="Which items; all, if left out.",
        examples=[{"status": "active"}],
    )


class JobFileResponse(ResponseModel):
    """The file that a job has made."""

    href: str = Field(
        description="Path to download it from.", examples=[f"/api/v1/jobs/{EXAMPLE_ID}/result"]
    )
    media_type: str = Field(description="What it is.", examples=["text/csv; charset=utf-8"])
    filename: str = Field(description="What a download is called.", examples=["items.csv"])
    size: int = Field(description="Its length in bytes.", examples=[48213])
    sha256: str = Field(description="Its SHA-256, in hexadecimal digits.", examples=[_SHA256])

    @classmethod
    def of(cls, file: JobFile, href: str) -> Self:
        """Return a job's file, with where it is."""
        return cls(
            href=href,
            media_type=file.media_type,
            filename=file.filename,
            size=file.size,
            sha256=file.sha256,
        )


class JobResponse(ResourceResponse):
    """A job."""

    kind: str = Field(description="What it does.", examples=["ExportItems"])
    state: JobState = Field(
        description="How far it is. `queued` again after a try that failed.", examples=["done"]
    )
    progress: int = Field(
        description="How much is done so far: for exports, the items that are written.",
        examples=[1500],
    )
    tries: int = Field(description="How often it was begun.", examples=[1])
    started_at: datetime | None = Field(
        description="When the last try began, in UTC.", examples=["2026-11-21T10:30:01Z"]
    )
    finished_at: datetime | None = Field(
        description="When it was over, in UTC.", examples=["2026-11-21T10:30:09Z"]
    )
    result: JobFileResponse | None = Field(
        description="The file that it has made, once it is done.", examples=[_FILE]
    )

    @classmethod
    def of(cls, job: TrackedJob, path: str) -> Self:
        """Return a job.

        Args:
            job: As it is.
            path: Where it is.
        """
        result = job.result and JobFileResponse.of(job.result, f"{path}/result")
        return cls(
            id=job.id,
            kind=job.kind,
            state=job.state,
            progress=job.progress,
            tries=job.tries,
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
            result=result,
        )
