"""The life of a worker process."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from app.config import Settings
from app.core.ids import new_id
from app.infrastructure.jobs.claims import Claims
from app.infrastructure.jobs.connection import open_job_redis
from app.infrastructure.jobs.store import JobStore
from app.resources import open_resources
from app.worker.metrics import shown
from app.worker.tasks import worker_handlers
from app.worker.worker import JobWorker, Observer

logger = structlog.stdlib.get_logger(__name__)


@asynccontextmanager
async def open_worker(settings: Settings, observer: Observer) -> AsyncIterator[JobWorker]:
    """Yield a worker with all that it stands on, and close that afterwards, in reverse order.

    Raises:
        ConfigurationError: There is no usable signing key.
    """
    async with open_resources(settings) as resources, open_job_redis(settings) as redis:
        yield JobWorker(
            redis,
            Claims(redis, settings.jobs, str(new_id())),
            worker_handlers(resources, JobStore(redis, settings.jobs)),
            settings.jobs,
            observer,
        )


def run(settings: Settings) -> None:
    """Do jobs until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: There is no usable signing key.
        OSError: The port for the numbers is not to be had.
    """
    with shown(settings) as metrics:
        asyncio.run(_run(settings, metrics))


async def _run(settings: Settings, observer: Observer) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with open_worker(settings, observer) as worker:
        logger.info("worker starts", concurrency=settings.jobs.concurrency)
        await worker.serve(stop)
    logger.info("worker has stopped")
