"""Whether what the service stands on is there."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import structlog

from app.core.errors import FieldError, Unavailable

logger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """One thing that the service stands on.

    Attributes:
        name: What it is called, such as `database`.
        check: Asks it; any exception means that it is down.
        required: Whether the service is of no use without it; it is only degraded otherwise.
    """

    name: str
    check: Callable[[], Awaitable[None]]
    required: bool


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What came of a check.

    Attributes:
        name: What was asked.
        status: `up`, `degraded` (down, and not required) or `down`.
        milliseconds: How long the answer took.
    """

    name: str
    status: Literal["up", "degraded", "down"]
    milliseconds: float


class NotReady(Unavailable):
    """Something is down without which the service is of no use."""

    code = "not_ready"
    title = "The service is not ready"

    def __init__(self, results: Sequence[CheckResult]) -> None:
        troubles = [result for result in results if result.status != "up"]
        super().__init__("; ".join(f"{each.name} is {each.status}" for each in troubles) + ".")
        self.errors = tuple(
            FieldError(each.name, f"{each.name} is {each.status}", each.status) for each in troubles
        )


async def examine(checks: Sequence[HealthCheck], time_limit: float) -> tuple[CheckResult, ...]:
    """Ask all at once and wait no longer than `time_limit` seconds.

    Raises:
        NotReady: Something required is down, or did not answer in time.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_examine(check, time_limit)) for check in checks]
    results = tuple(task.result() for task in tasks)
    if any(result.status == "down" for result in results):
        raise NotReady(results)
    return results


async def _examine(check: HealthCheck, time_limit: float) -> CheckResult:
    started = time.perf_counter()
    status: Literal["up", "degraded", "down"] = "up"
    asking = asyncio.ensure_future(check.check())
    asking.add_done_callback(_let_it_end)
    try:
        answered, _ = await asyncio.wait({asking}, timeout=time_limit)
    finally:
        # It may take a while to clean up, and the limit is for the answer: nobody waits.
        asking.cancel()
    failure = asking.exception() if answered else TimeoutError()
    if failure is not None:
        status = "down" if check.required else "degraded"
        logger.warning("health check failed", name=check.name, cause=type(failure).__name__)
    return CheckResult(check.name, status, round((time.perf_counter() - started) * 1000, 3))


def _let_it_end(asking: asyncio.Future[None]) -> None:
    """Take what a check says in the end, should nobody wait for it any more."""
    if not asking.cancelled():
        asking.exception()
