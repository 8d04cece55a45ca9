"""Prometheus metrics: requests by route, method and status, with their duration."""

from secrets import compare_digest
from typing import Annotated, Final

from fastapi import Depends, FastAPI, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_fastapi_instrumentator.middleware import PrometheusInstrumentatorMiddleware
from starlette.middleware import Middleware

from app.core.config import MetricsSettings
from app.core.errors import InvalidToken
from app.infrastructure.metrics import registry_of

PATH: Final = "/metrics"
_EXCLUDED: Final = (f"^{PATH}$", "^/live$", "^/ready$", "^/health$")
_bearer = HTTPBearer(auto_error=False)


def middleware(registry: CollectorRegistry) -> Middleware:
    """Return the middleware that counts and times requests."""
    return Middleware(
        PrometheusInstrumentatorMiddleware,
        registry=registry,
        excluded_handlers=_EXCLUDED,
        should_group_status_codes=False,
    )


def add_routes(app: FastAPI, registry: CollectorRegistry, settings: MetricsSettings) -> None:
    """Add the route, which shows the metrics of this process or of all in a directory."""

    # Not a coroutine, so that it runs in a thread: other processes' metrics are in files.
    @app.get(PATH, include_in_schema=False)
    def get_metrics(
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    ) -> Response:
        """Return the metrics of all processes of this server."""
        if settings.token is not None:
            given = credentials.credentials if credentials else ""
            expected = settings.token.get_secret_value()
            if not compare_digest(given.encode(), expected.encode()):
                raise InvalidToken
        shown = registry if settings.directory is None else registry_of(settings.directory)
        return Response(generate_latest(shown), media_type=CONTENT_TYPE_LATEST)
