"""The application factory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from app import about
from app.api import health, jwks, metrics
from app.api.v1 import router as v1
from app.config import Settings, load_settings
from app.infrastructure.http import problems as errors
from app.infrastructure.http.middleware import middleware
from app.infrastructure.http.openapi import (
    DOCS_PATH,
    OPENAPI_PATH,
    REDOC_PATH,
    DocumentedApi,
    operation_id,
)
from app.resources import open_resources


def create_app(settings: Settings | None = None) -> FastAPI:
    """Assemble the application; its lifespan opens the resources.

    Args:
        settings: By default those of the environment.
    """
    settings = settings or load_settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_resources(settings) as resources:
            app.state.resources = resources
            yield

    registry = CollectorRegistry() if settings.metrics.enabled else None
    app = DocumentedApi(
        title=about.TITLE,
        description=about.DESCRIPTION,
        version=about.VERSION,
        contact=about.CONTACT,
        license_info=about.LICENSE_INFO,
        openapi_url=OPENAPI_PATH if settings.docs_enabled else None,
        docs_url=DOCS_PATH if settings.docs_enabled else None,
        redoc_url=REDOC_PATH if settings.docs_enabled else None,
        openapi_tags=[*v1.TAGS, health.TAG, jwks.TAG],
        generate_unique_id_function=operation_id,
        # `/items/` is not `/items`: a redirect would send the request, token and all, once more.
        redirect_slashes=False,
        middleware=middleware(settings, registry, v1.body_limits(settings)),
        lifespan=lifespan,
    )
    errors.install(app)
    app.include_router(health.router)
    app.include_router(jwks.router)
    if registry is not None:
        app.include_router(metrics.router(registry, settings.metrics))
    v1.include_in(app)
    return app
