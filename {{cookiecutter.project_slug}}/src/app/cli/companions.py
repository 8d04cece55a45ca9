"""What `app dev` runs beside the service: a worker."""

import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Final

from app.cli import reloading
from app.cli.output import CommandFailed, say
from app.cli.processes import end_with_parent
from app.config import Settings, load_settings
from app.core.logging import configure_logging
from app.infrastructure.jobs.connection import open_job_redis
from app.infrastructure.jobs.store import JobStore
from app.worker.running import run

_POLL_SECONDS: Final = 0.05
_SECONDS_TO_START: Final = 60.0
_SECONDS_TO_STOP: Final = 10.0


@contextmanager
def companions(settings: Settings, *, reload: bool) -> Iterator[None]:
    """Run a worker while the block does, beside this process; one that is killed starts again.

    Args:
        settings: With the addresses of all servers.
        reload: Whether to start again whenever a source file changes.

    Raises:
        CommandFailed: It does not start.
    """
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=reloading.keep, kwargs={"reload": reload}, name="keeper")
    process.start()
    try:
        if not asyncio.run(_lives(settings, process)):
            raise CommandFailed("The worker did not start; its log says why.")
        say("A worker does the jobs beside it.")
        yield
    finally:
        reloading.stop(process, _SECONDS_TO_STOP)


def work() -> None:
    """Do jobs, by the settings that this process's environment has."""
    end_with_parent()
    settings = load_settings()
    configure_logging(settings.logging, production=settings.is_production)
    run(settings)


async def _lives(settings: Settings, process: BaseProcess) -> bool:
    """Wait until a worker has given a sign of life; tell if one has."""
    deadline = time.monotonic() + _SECONDS_TO_START
    async with open_job_redis(settings) as redis:
        store = JobStore(redis, settings.jobs)
        while process.is_alive() and time.monotonic() < deadline:
            if await store.workers():
                return True
            await asyncio.sleep(_POLL_SECONDS)
    return False
