"""`app worker`: the process that does jobs, and how the queue stands."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from app.cli.environment import surroundings
from app.cli.output import CommandFailed, Commands, say
from app.config import Settings
from app.core.logging import configure_logging
from app.infrastructure.jobs.connection import open_job_redis
from app.infrastructure.jobs.store import JobStore, Overview
from app.worker.running import run as run_worker

Result = TypeVar("Result")

app = typer.Typer(
    cls=Commands,
    help="""Do background jobs, and look after them.

    Example: app worker run""",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def run() -> None:
    """Do jobs until SIGTERM or Ctrl-C.

    Jobs under way then have APP_JOBS__GRACE_SECONDS to finish; the others go back to the queue.
    Run as many of these as there is work for, on any number of hosts.

    Example: APP_JOBS__CONCURRENCY=4 app worker run
    """
    with surroundings() as settings:
        configure_logging(settings.logging, production=settings.is_production)
        try:
            run_worker(settings)
        except OSError as error:
            raise CommandFailed(f"The worker can't run: {error.strerror or error}.") from error


@app.command()
def status() -> None:
    """Show the workers, how many jobs wait and run, and the dead ones.

    The exit code is 1 if there is no worker.

    Example: app worker status
    """
    with surroundings() as settings:
        overview = _asked(settings, JobStore.overview)
    for line in _lines(overview):
        typer.echo(line)
    if not overview.workers:
        raise CommandFailed("No worker lives. Start one: app worker run")


@app.command()
def retry(
    job_id: Annotated[
        str, typer.Argument(metavar="ID", help="Id of a dead job, as `status` shows it.")
    ],
) -> None:
    """Put a dead job back into the queue, with all its tries.

    Example: app worker retry 01976d5e-8a7c-7cc3-98c1-5f2b6a1d9e10
    """
    with surroundings() as settings:
        revived = _asked(settings, lambda store: store.revive(job_id))
    if not revived:
        raise CommandFailed(f"There is no dead job {job_id}.")
    say(f"{job_id} is in the queue again.")


def _asked(settings: Settings, ask: Callable[[JobStore], Awaitable[Result]]) -> Result:
    """Ask Redis something about jobs."""

    async def answer() -> Result:
        async with open_job_redis(settings) as redis:
            return await ask(JobStore(redis, settings.jobs))

    return asyncio.run(answer())


def _lines(overview: Overview) -> list[str]:
    """What there is to say, a line for each thing."""
    counts = ("queued", "delayed", "running")
    lines = [f"{name}: {getattr(overview, name)}" for name in counts]
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
