"""Settings of background jobs."""

from typing import Annotated

from pydantic import Field

from app.core.config.base import SettingsGroup


class JobSettings(SettingsGroup):
    """How background jobs are handed over, done, and done again."""

    drain_seconds: Annotated[float, Field(ge=0, le=300)] = 10.0
    """Seconds that a process which ends tries on to hand over jobs that Redis did not take."""

    backlog: Annotated[int, Field(ge=0, le=1_000_000)] = 1000
    """Number of jobs that a process keeps in its memory while Redis does not take them. What comes
    on top of that is lost, and the log says so."""

    command_seconds: Annotated[float, Field(gt=0, le=60)] = 2.0
    """Seconds that one call to Redis about a job may take: a few commands, with connecting."""

    unfinished_per_user: Annotated[int, Field(ge=1, le=10_000)] = 10
    """Number of jobs, such as exports, that one user may have waiting or running. A further one is
    refused until one of them is over."""

    concurrency: Annotated[int, Field(ge=1, le=1000)] = 10
    """Number of jobs that one worker does at once."""

    poll_seconds: Annotated[float, Field(gt=0, le=60)] = 0.5
    """Seconds between two looks of an idle worker into the queue; a job waits half of that."""

    lease_seconds: Annotated[float, Field(gt=0, le=3600)] = 15.0
    """Seconds for which a worker holds a job without a sign of life; it gives three in that time,
    however long the job takes. The job of a worker that was killed is begun again by another one
    with a free place after at most this and APP_JOBS__POLL_SECONDS. It is as long until `/ready`
    tells that the last worker is gone."""

    timeout_seconds: Annotated[float, Field(gt=0, le=86_400)] = 600.0
    """Seconds that one try of a job may take."""

    max_tries: Annotated[int, Field(ge=1, le=100)] = 5
    """Number of times that a job is begun before it is given up and shown among the dead."""

    retry_seconds: Annotated[float, Field(gt=0, le=3600)] = 2.0
    """Seconds before the second try; they double with each further one, less up to a half, by
    chance, so that what failed together does not come back together."""

    retry_max_seconds: Annotated[float, Field(gt=0, le=86_400)] = 600.0
    """Most seconds between two tries."""

    grace_seconds: Annotated[float, Field(ge=0, le=3600)] = 30.0
    """Seconds that a worker which is asked to stop gives its jobs to finish; the others go back to
    the queue, and the try does not count."""

    queue_seconds: Annotated[int, Field(ge=60, le=31_536_000)] = 604_800
    """Seconds after which a job that nobody began is given up."""

    result_seconds: Annotated[int, Field(ge=60, le=31_536_000)] = 86_400
    """Seconds that the outcome of a job can be asked for, and a file that it made be downloaded."""

    dead_seconds: Annotated[int, Field(ge=60, le=31_536_000)] = 1_209_600
    """Seconds that a job which was given up is kept, with all it needs to be tried once more."""

    metrics_port: Annotated[int, Field(ge=0, le=65_535)] | None = None
    """TCP port at which a worker shows its numbers to Prometheus, where APP_METRICS__ENABLED is
    set; 0 takes any that is free. Unset: it shows none."""

    metrics_host: str = "127.0.0.1"
    """Address of that port. There is no token, so it should be one that scrapers alone reach."""
