"""What Prometheus scrapes: requests by route, method and status, and how long they took."""

from secrets import compare_digest
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_fastapi_instrumentator.middleware import PrometheusInstrumentatorMiddleware
from starlette.middleware import Middleware

from app.core.config import MetricsSettings
from app.core.errors import InvalidToken

PATH: Final = "/metrics"
_UNCOUNTED: Final = (f"^{PATH}$", "^/live$", "^/ready$", "^/health$")
_bearer = HTTPBearer(auto_error=False)


def middleware(registry: CollectorRegistry) -> Middleware:
    """Return what counts and times requests, by the template of their route."""
    return Middleware(
        PrometheusInstrumentatorMiddleware,
        registry=registry,
        excluded_handlers=_UNCOUNTED,
        should_group_status_codes=False,
    )


def router(registry: CollectorRegistry, settings: MetricsSettings) -> APIRouter:
    """Return the route that shows the numbers.

    Args:
        registry: What this process counts.
        settings: Who may look, and where the other processes of the server count.
    """
    routes = APIRouter()

    # A plain function, so that it runs in a thread: the numbers of other processes are in files.
    @routes.get(PATH, include_in_schema=False)
    def get_metrics(
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    ) -> Response:
        """Show the numbers of all processes of this server."""
        if settings.token is not None:
            given = credentials.credentials if credentials else ""
            expected = settings.token.get_secret_value()
            if not compare_digest(given.encode(), expected.encode()):
                raise InvalidToken
        shown = registry
        if settings.directory is not None:
            shown = CollectorRegistry()
            MultiProcessCollector(shown, str(settings.directory))  # type: ignore[no-untyped-call]
        return Response(generate_latest(shown), media_type=CONTENT_TYPE_LATEST)

    return routes
