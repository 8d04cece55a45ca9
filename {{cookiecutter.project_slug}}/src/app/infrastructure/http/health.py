"""Probes for load balancers and orchestrators: neither limited nor authenticated."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

import structlog
from fastapi import FastAPI, Request
from pydantic import BaseModel, Field
from typing_extensions import TypeAliasType

from app.core.config import HealthSettings
from app.core.errors import FieldError, Unavailable
from app.core.ports import HealthCheck
from app.infrastructure.http.problems import problems

logger = structlog.stdlib.get_logger(__name__)

TAG: Final = {"name": "health", "description": "Probes for load balancers and orchestrators."}

DependencyStatus = TypeAliasType("DependencyStatus", Literal["up", "degraded"])
ReadinessStatus = TypeAliasType("ReadinessStatus", Literal["ready", "degraded"])


class Health(BaseModel):
    """Name and version of the service."""

    status: Literal["ok"] = Field(description="Always `ok`.", examples=["ok"])
    name: str = Field(description="Name of the service.", examples=["A service"])
    version: str = Field(description="Version of the service.", examples=["1.0.0"])


class Liveness(BaseModel):
    """Liveness of the process."""

    status: Literal["alive"] = Field(description="Always `alive`.", examples=["alive"])


class DependencyHealth(BaseModel):
    """Result of one health check."""

    name: str = Field(description="Name of the dependency.", examples=["database"])
    status: DependencyStatus = Field(
        description="`degraded` if it fails, but the service can answer without it.",
        examples=["up"],
    )
    milliseconds: float = Field(ge=0, description="Duration of the check.", examples=[1.2])


class Readiness(BaseModel):
    """Readiness of the service and its dependencies."""

    status: ReadinessStatus = Field(
        description="`degraded` if a dependency that is not required is down.", examples=["ready"]
    )
    checks: list[DependencyHealth] = Field(description="Results of all health checks.")


class NotReady(Unavailable):
    """A required dependency is down."""

    code = "not_ready"
    title = "Not ready"

    def __init__(self, failed: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name} is {status}" for name, status in failed.items()) + ".")
        self.errors = tuple(
            FieldError(name, f"{name} is {status}", status) for name, status in failed.items()
        )


def add_routes(
    app: FastAPI,
    *,
    checks: Callable[[Request], Sequence[HealthCheck]],
    settings: HealthSettings,
) -> None:
    """Add the routes, on the application itself: FastAPI takes longer to match included routers."""
    latest: asyncio.Task[Readiness] | None = None
    expires = 0.0

    @app.get("/health", status_code=200, tags=[TAG["name"]], summary="Get health")
    async def get_health() -> Health:
        """Return the name and version of the service. Checks no dependency."""
        return Health(status="ok", name=app.title, version=app.version)

    @app.get("/live", status_code=200, tags=[TAG["name"]], summary="Get liveness")
    async def get_liveness() -> Liveness:
        """Report that the process responds. Orchestrators restart a process that does not."""
        return Liveness(status="alive")

    @app.get(
        "/ready",
        status_code=200,
        tags=[TAG["name"]],
        summary="Get readiness",
        responses=problems(NotReady),
    )
    async def get_readiness(request: Request) -> Readiness:
        """Check all dependencies, with a time limit; the result is cached for a second.

        Load balancers route requests to a process while this returns 200. The response names
        dependencies that are down, whatever the status.
        """
        nonlocal latest, expires
        clock = asyncio.get_running_loop().time
        if latest is None or (latest.done() and clock() >= expires):
            latest = asyncio.create_task(examine(checks(request), settings.timeout_seconds))
            latest.add_done_callback(_retrieve_exception)
            expires = clock() + settings.cache_seconds
        # A client that goes away must not cancel the check for the others.
        return await asyncio.shield(latest)


async def examine(checks: Sequence[HealthCheck], time_limit: float) -> Readiness:
    """Run all checks at once, each for `time_limit` seconds at most.

    Raises:
        NotReady: A required dependency is down or did not answer in time.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_examine(check, time_limit)) for check in checks]
    results = {check.name: task.result() for check, task in zip(checks, tasks, strict=True)}
    failed = {name: status for name, (status, _) in results.items() if status != "up"}
    if "down" in failed.values():
        raise NotReady(failed)
    return Readiness(
        status="degraded" if failed else "ready",
        checks=[
            DependencyHealth(
                name=name,
                status="degraded" if name in failed else "up",
                milliseconds=milliseconds,
            )
            for name, (_, milliseconds) in results.items()
        ],
    )


async def _examine(
    check: HealthCheck, time_limit: float
) -> tuple[Literal["up", "degraded", "down"], float]:
    started = time.perf_counter()
    task = asyncio.ensure_future(check.check())
    task.add_done_callback(_retrieve_exception)
    try:
        done, _ = await asyncio.wait({task}, timeout=time_limit)
    finally:
        # Cleaning up may take longer than the limit: it is not awaited.
        task.cancel()
    milliseconds = round((time.perf_counter() - started) * 1000, 3)
    failure = task.exception() if done else TimeoutError()
    if failure is None:
        return "up", milliseconds
    reason = {"cause": type(failure).__name__, **getattr(failure, "context", {})}
    logger.warning("health check failed", name=check.name, **reason)
    return "down" if check.required else "degraded", milliseconds


def _retrieve_exception(task: asyncio.Future[Any]) -> None:
    """Keep asyncio from logging an exception that was never retrieved."""
    if not task.cancelled():
        task.exception()
