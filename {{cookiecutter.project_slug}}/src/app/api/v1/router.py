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
    items,
    # {% if cookiecutter.use_s3 %}
    files,
    # {% endif %}
    # {% if cookiecutter.use_arq %}
    items_export,
    jobs,
    # {% endif %}
    # {% if cookiecutter.use_websockets %}
    ws,
    # {% endif %}
)
"""Each has a `router`, and a `TAG` that says what its operations are about. One that takes bodies
of another size than the rest says so by `body_limits(settings)`."""

TAGS: list[dict[str, str]] = [feature.TAG for feature in FEATURES if hasattr(feature, "TAG")]
"""What the tags of these operations mean, in the order in which they are shown."""


def body_limits(settings: Settings) -> dict[str, int]:
    """Return the largest bodies of paths that take more, or less, than others do."""
    return {
        path: limit
        for feature in FEATURES
        if hasattr(feature, "body_limits")
        for path, limit in feature.body_limits(settings).items()
    }


def include_in(app: FastAPI) -> None:
    """Add all operations, each held to the general limit of its client's address.

    One by one, and not as a router of routers: FastAPI would match each request once per level.
    """
    for feature in FEATURES:
        app.include_router(feature.router, prefix="/api/v1", dependencies=[RateLimitedByAddress])
