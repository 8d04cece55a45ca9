"""The application factory."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from app import about
from app.api.deps.auth import api_key
from app.api.v1 import router as v1
from app.config import Settings, load_settings
from app.domain.permissions import DELEGABLE
from app.infrastructure.http import docs, health, jwks, metrics
from app.infrastructure.http.handlers import add_exception_handlers
from app.infrastructure.http.middleware import middleware
from app.infrastructure.http.openapi import (
    GUIDE,
    OPENAPI_PATH,
    DocumentedApi,
    operation_id,
)
from app.infrastructure.metrics import exported, recorded
from app.resources import open_resources
from app.tasks import TASKS


def create_app(settings: Settings | None = None) -> FastAPI:
    """Assemble the application; its lifespan opens the resources.

    Args:
        settings: By default, those of the environment.
    """
    settings = settings or load_settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if registry is not None and settings.metrics.directory is None:
                own = settings.metrics
                stack.enter_context(exported(registry, own.host, own.port))
            resources = await stack.enter_async_context(open_resources(settings, TASKS))
            if registry is not None:
                await stack.enter_async_context(
                    recorded(registry, resources.measures, resources.polls)
                )
            app.state.resources = resources
            async with resources.relay.open(settings.jobs.drain_seconds):
                yield

    registry = CollectorRegistry() if settings.metrics.enabled else None
    app = DocumentedApi(
        title=about.TITLE,
        description=f"{about.DESCRIPTION}\n\n{GUIDE}",
        version=about.VERSION,
        contact=about.CONTACT,
        license_info=about.LICENSE_INFO,
        openapi_url=OPENAPI_PATH if settings.docs_enabled else None,
        docs_url=None,  # `docs.add_routes` adds pages that work offline
        redoc_url=None,
        openapi_tags=[*v1.TAGS, health.TAG, jwks.TAG],
        generate_unique_id_function=operation_id,
        attainable_scopes={api_key.scheme_name: DELEGABLE},
        # A redirect from `/users/` to `/users` would send the request, token included, twice.
        redirect_slashes=False,
        middleware=middleware(
            settings.http,
            cors_origins=settings.cors_origins,
            production=settings.is_production,
            registry=registry,
            body_limits=v1.body_limits(settings),
        ),
        lifespan=lifespan,
    )
    add_exception_handlers(app)
    health.add_routes(
        app,
        checks=lambda request: request.app.state.resources.health_checks,
        settings=settings.health,
    )
    jwks.add_routes(app, lambda request: request.app.state.resources.keys.public_jwks())
    if settings.docs_enabled:
        docs.add_routes(app)
    if registry is not None and settings.metrics.port is None:
        metrics.add_routes(app, registry, settings.metrics)
    v1.include_in(app)
    return app
