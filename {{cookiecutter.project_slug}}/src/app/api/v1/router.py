"""Everything under `/api/v1`."""

from fastapi import FastAPI

from app.api.deps.common import RateLimitedByAddress
from app.api.v1 import (
    api_keys,
    auth,
    # {% if cookiecutter.use_s3 %}
    files,
    # {% endif %}
    items,
    # {% if cookiecutter.use_arq %}
    items_export,
    jobs,
    # {% endif %}
    users,
    # {% if cookiecutter.use_websockets %}
    ws,
    # {% endif %}
)
from app.config import Settings

FEATURES = (
    auth,
    api_keys,
    users,
    # {% if cookiecutter.use_s3 %}
    files,
    # {% endif %}
    # {% if cookiecutter.use_websockets %}
    ws,
    # {% endif %}
    # {% if cookiecutter.use_arq %}
    jobs,
    items_export,
    # {% endif %}
    items,
)
"""Modules with a `router`, the `TAG` of its operations, and `body_limits` of its own."""

TAGS: list[dict[str, str]] = [feature.TAG for feature in FEATURES if hasattr(feature, "TAG")]
"""Tags of the OpenAPI document, in order."""


def body_limits(settings: Settings) -> dict[str, int]:
    """Return the size limits of request bodies on the paths that have their own."""
    return {
        path: limit
        for feature in FEATURES
        if hasattr(feature, "body_limits")
        for path, limit in feature.body_limits(settings).items()
    }


def include_in(app: FastAPI) -> None:
    """Add all routes, rate-limited by the address of the client."""
    for feature in FEATURES:
        feature.router.include_in(app, prefix="/api/v1", dependencies=[RateLimitedByAddress])
