"""Settings of background jobs."""

from typing import Annotated

from pydantic import Field

from app.core.config.base import SettingsGroup


class JobSettings(SettingsGroup):
    """Background jobs."""

    drain_seconds: Annotated[float, Field(ge=0, le=300)] = 10.0
    """Seconds that a process has on shutdown to submit the jobs that are due. The others stay in
    the database."""

    command_seconds: Annotated[float, Field(gt=0, le=60)] = 2.0
    """Seconds that one call to Redis about a job may take, including the connection."""

    unfinished_per_user: Annotated[int, Field(ge=1, le=10_000)] = 10
    """Unfinished jobs, such as exports, that one user may have. Further ones are refused."""

    concurrency: Annotated[int, Field(ge=1, le=1000)] = 10
    """Jobs that one worker runs at once."""

    running_per_user: Annotated[int, Field(ge=1, le=1000)] = 2
    """Jobs of one user that one worker runs at once. One of several slots is always left to
    others."""

    poll_seconds: Annotated[float, Field(gt=0, le=60)] = 0.5
    """Seconds between two polls of an idle worker; a job waits half of that on average."""

    lease_seconds: Annotated[float, Field(gt=0, le=3600)] = 15.0
    """Lease of a worker on its jobs, renewed three times in that period. The job of a killed worker
    is retried by another one with a free slot after at most this and APP_JOBS__POLL_SECONDS.
    `/ready` reports the loss of the last worker after the same time."""

    timeout_seconds: Annotated[float, Field(gt=0, le=86_400)] = 600.0
    """Seconds that one attempt of a job may take."""

    max_tries: Annotated[int, Field(ge=1, le=100)] = 5
    """Attempts before a job is dead-lettered."""

    retry_seconds: Annotated[float, Field(gt=0, le=3600)] = 2.0
    """Seconds before the second attempt. They double with each further one, less a random share of
    up to half, so that jobs that failed together are not retried together."""

    retry_max_seconds: Annotated[float, Field(gt=0, le=86_400)] = 600.0
    """Maximum seconds between two attempts."""

    grace_seconds: Annotated[float, Field(ge=0, le=3600)] = 30.0
    """Seconds that a worker gives its jobs to finish on shutdown. The others return to the queue,
    and the attempt does not count."""

    queue_seconds: Annotated[int, Field(ge=60, le=31_536_000)] = 604_800
    """Seconds after which a job that never started is dropped."""

    result_seconds: Annotated[int, Field(ge=60, le=31_536_000)] = 86_400
    """Seconds to keep the result of a job, and the file it made."""

    metrics_port: Annotated[int, Field(ge=0, le=65_535)] | None = None
    """TCP port on which a worker serves metrics if APP_METRICS__ENABLED is set, at the address
    APP_METRICS__HOST. Unset: none."""
