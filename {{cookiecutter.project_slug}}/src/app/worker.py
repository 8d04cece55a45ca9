"""The worker process."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog
from prometheus_client import CollectorRegistry

from app.config import Settings
from app.core.ids import new_id
from app.infrastructure.jobs import open_job_redis
from app.infrastructure.jobs.claims import Claims
from app.infrastructure.jobs.metrics import JobMetrics
from app.infrastructure.jobs.worker import Cron, JobWorker
from app.infrastructure.metrics import exported, recorded
from app.resources import open_resources
from app.tasks import TASKS
from app.tasks.maintenance import Prune, RemoveExports

SCHEDULE: Final = (
    Cron(Prune, hour=3, minute=30),
    Cron(RemoveExports, hour=None, minute=17),
)
"""Cron jobs."""

logger = structlog.stdlib.get_logger(__name__)


@asynccontextmanager
async def open_worker(settings: Settings, metrics: JobMetrics) -> AsyncIterator[JobWorker]:
    """Yield a worker with its resources."""
    async with (
        open_resources(settings, TASKS) as resources,
        resources.relay.open(settings.jobs.drain_seconds),
        open_job_redis(settings.redis, settings.jobs) as redis,
        recorded(metrics.registry, resources.measures, resources.polls),
    ):
        yield JobWorker(
            redis,
            Claims(redis, settings.jobs, str(new_id())),
            resources.run,
            TASKS,
            SCHEDULE,
            settings.jobs,
            metrics,
        )


def run(settings: Settings) -> None:
    """Run jobs until SIGTERM or SIGINT.

    Raises:
        OSError: The port of the metrics is unavailable.
    """
    registry = CollectorRegistry()
    port = settings.jobs.metrics_port if settings.metrics.enabled else None
    with exported(registry, settings.metrics.host, port):
        asyncio.run(_run(settings, JobMetrics(registry)))


async def _run(settings: Settings, metrics: JobMetrics) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with open_worker(settings, metrics) as worker:
        logger.info("worker started", concurrency=settings.jobs.concurrency)
        await worker.serve(stop)
    logger.info("worker stopped")
