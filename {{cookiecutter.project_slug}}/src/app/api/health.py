"""Probes, for load balancers and orchestrators: never limited, never behind a login."""

from typing import Annotated

from fastapi import APIRouter, Depends

from app import about
from app.api.deps.common import ResourcesDep, SettingsDep
from app.api.schemas.health import DependencyHealth, Health, Liveness, Readiness
from app.core.health import CheckResult, NotReady, examine
from app.infrastructure.http.problems import problems

router = APIRouter(tags=["health"])

TAG = {"name": "health", "description": "Probes, for load balancers and orchestrators."}


async def get_check_results(
    resources: ResourcesDep, settings: SettingsDep
) -> tuple[CheckResult, ...]:
    """What the service stands on, each asked now; stands on the resources and the settings.

    Raises:
        NotReady: Something required is down.
    """
    return await examine(resources.health_checks, settings.health.timeout_seconds)


CheckResultsDep = Annotated[tuple[CheckResult, ...], Depends(get_check_results)]


@router.get("/health", status_code=200, summary="Health")
async def get_health() -> Health:
    """Says that the service answers, and in which version. Asks nothing that it stands on."""
    return Health(status="ok", name=about.TITLE, version=about.VERSION)


@router.get("/live", status_code=200, summary="Liveness")
async def get_liveness() -> Liveness:
    """Says that the process answers. An orchestrator restarts one that does not."""
    return Liveness(status="alive")


@router.get(
    "/ready",
    status_code=200,
    summary="Readiness",
    responses=problems(NotReady),
)
async def get_readiness(results: CheckResultsDep) -> Readiness:
    """Asks everything that the service stands on, with a time limit.

    A load balancer sends requests only while this is 200. What is down is named in either case.
    """
    return Readiness(
        status="ready" if all(result.status == "up" for result in results) else "degraded",
        checks=[DependencyHealth.model_validate(result) for result in results],
    )
