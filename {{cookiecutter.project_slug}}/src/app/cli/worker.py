"""`app worker`: the process that runs jobs, and the state of the queue."""

import asyncio
import multiprocessing
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from app.cli.runtime import CommandFailed, bound_socket, echo_status, end_with_parent, runtime

if TYPE_CHECKING:
    from app.config import Settings
    from app.infrastructure.jobs.store import JobStore, Overview

Result = TypeVar("Result")

app = typer.Typer(
    help="""Run background jobs, and manage the queue.

    Example: app worker run""",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def run() -> None:
    """Run jobs until SIGTERM or Ctrl-C.

    Running jobs then have APP_JOBS__GRACE_SECONDS to finish; the others return to the queue. Start
    as many workers as needed, on any number of hosts.

    Example: APP_JOBS__CONCURRENCY=4 app worker run
    """
    with runtime() as settings:
        run_worker(settings)


def run_worker(settings: "Settings") -> None:
    """Run jobs in this process."""
    from app import worker
    from app.core.logging import configure_logging, log_risks

    configure_logging(settings.logging, production=settings.is_production)
    log_risks(settings.risks)
    if settings.metrics.enabled and settings.jobs.metrics_port is not None:
        port = settings.jobs.metrics_port
        bound_socket(settings.metrics.host, port, "APP_JOBS__METRICS_PORT").close()
    try:
        worker.run(settings)
    except OSError as error:
        raise CommandFailed(f"The worker can't run: {error.strerror or error}.") from error


@contextmanager
def worker_process() -> Iterator[None]:
    """Run a worker in a process beside this one, for `app dev`."""
    process = multiprocessing.get_context("spawn").Process(target=work, name="worker")
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join(timeout=10)
        process.kill()
        process.join()


def work() -> None:
    """Run jobs by the settings of the environment, until the parent ends."""
    from app.config import load_settings

    end_with_parent()
    run_worker(load_settings())


@app.command()
def status() -> None:
    """Show workers, the number of jobs by state, and dead-lettered jobs.

    Exits with 1 if there is no worker.

    Example: app worker status
    """
    with runtime() as settings:
        overview = _with_store(settings, lambda store: store.overview())
    for line in _lines(overview):
        typer.echo(line)
    if not overview.workers:
        raise CommandFailed("No worker is running. Start one: app worker run")


@app.command()
def retry(
    job_id: Annotated[
        str, typer.Argument(metavar="ID", help="ID of a dead-lettered job, as in `status`.")
    ],
) -> None:
    """Return a dead-lettered job to the queue, and reset its attempts.

    Example: app worker retry 01976d5e-8a7c-7cc3-98c1-5f2b6a1d9e10
    """
    with runtime() as settings:
        revived = _with_store(settings, lambda store: store.revive(job_id))
    if not revived:
        raise CommandFailed(f"No dead-lettered job {job_id}.")
    echo_status(f"{job_id} is queued again.")


def _with_store(settings: "Settings", ask: Callable[["JobStore"], Awaitable[Result]]) -> Result:
    from app.infrastructure.jobs import JobStore, open_job_redis

    async def answer() -> Result:
        async with open_job_redis(settings.redis, settings.jobs) as redis:
            return await ask(JobStore(redis, settings.jobs))

    return asyncio.run(answer())


def _lines(overview: "Overview") -> list[str]:
    lines = [f"{name}: {getattr(overview, name)}" for name in ("queued", "delayed", "running")]
    lines.append(f"dead: {len(overview.dead)}")
    lines += [
        f"  {job.id}  {job.kind}  {job.error}, {job.tries} tries, {job.died_at:%Y-%m-%d %H:%M}"
        for job in overview.dead
    ]
    lines.append(f"workers: {len(overview.workers)}")
    lines += [
        f"  {each.host} {each.pid}  running {each.running}, done {each.done},"
        f" failed {each.failed}, retried {each.retried}"
        for each in overview.workers
    ]
    return lines
