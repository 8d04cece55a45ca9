"""Schemas of jobs."""

from datetime import datetime
from typing import Any, Self

from pydantic import Field

from app.core.jobs import JobFile, JobState, JobStatus
from app.infrastructure.http.schemas import EXAMPLE_ID, ResourceResponse, ResponseModel

_SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_FILE: dict[str, Any] = {
    "href": f"/api/v1/jobs/{EXAMPLE_ID}/result",
    "media_type": "text/csv; charset=utf-8",
    "filename": "report.csv",
    "size": 48213,
    "sha256": _SHA256,
}


class JobFileResponse(ResponseModel):
    """File written by a job."""

    href: str = Field(
        description="Path of the download.", examples=[f"/api/v1/jobs/{EXAMPLE_ID}/result"]
    )
    media_type: str = Field(
        description="Media type of the file.", examples=["text/csv; charset=utf-8"]
    )
    filename: str = Field(description="Suggested file name.", examples=["report.csv"])
    size: int = Field(description="Size in bytes.", examples=[48213])
    sha256: str = Field(description="SHA-256 of the file, in hexadecimal.", examples=[_SHA256])

    @classmethod
    def of(cls, file: JobFile, href: str) -> Self:
        """Return the file of a job."""
        return cls(
            href=href,
            media_type=file.media_type,
            filename=file.filename,
            size=file.size,
            sha256=file.sha256,
        )


class JobResponse(ResourceResponse):
    """A job."""

    kind: str = Field(description="Type of job.", examples=["WriteReport"])
    state: JobState = Field(
        description="State of the job; `queued` again after a failed attempt.", examples=["done"]
    )
    progress: int = Field(
        description="Progress so far; for exports, the number of rows written.",
        examples=[1500],
    )
    tries: int = Field(description="Number of attempts.", examples=[1])
    started_at: datetime | None = Field(
        description="Start of the last attempt, in UTC.", examples=["2026-11-21T10:30:01Z"]
    )
    finished_at: datetime | None = Field(
        description="End of the job, in UTC.", examples=["2026-11-21T10:30:09Z"]
    )
    result: JobFileResponse | None = Field(
        description="File written by the job; null until it is done.", examples=[_FILE]
    )

    @classmethod
    def of(cls, job: JobStatus, path: str) -> Self:
        """Return a job, given its path."""
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
