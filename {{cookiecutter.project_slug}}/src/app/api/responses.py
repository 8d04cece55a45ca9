"""Headers of responses, as they are set and as they are documented."""

from typing import Final
from uuid import UUID

from starlette.requests import Request

from app.api.errors import Responses

_ETAG: Final = {
    "ETag": {
        "description": "The version, for `If-Match` and `If-None-Match` (RFC 9110 §8.8.3).",
        "required": True,
        "schema": {"type": "string", "examples": ['"1"']},
    }
}
_LOCATION: Final = {
    "Location": {
        "description": "Path of what was created (RFC 9110 §10.2.2).",
        "required": True,
        "schema": {
            "type": "string",
            "examples": ["/api/v1/items/01976d5e-8a7c-7cc3-98c1-5f2b6a1d9e10"],
        },
    }
}
_REPLAYED: Final = {
    "Idempotency-Replayed": {
        "description": "That this answer was given before, to a request with the same key.",
        "schema": {"type": "string", "enum": ["true"], "examples": ["true"]},
    }
}

CREATED: Final[Responses] = {201: {"headers": _LOCATION}}
"""Documents an operation that creates something."""

CREATED_VERSION: Final[Responses] = {201: {"headers": {**_LOCATION, **_ETAG}}}
"""Documents an operation that creates something with versions."""

VERSION: Final[Responses] = {200: {"headers": _ETAG}}
"""Documents an operation that returns something with versions."""

VERSION_OR_NOT_MODIFIED: Final[Responses] = {
    **VERSION,
    304: {"description": "You have this version already.", "headers": _ETAG},
}
"""Documents an operation that returns something with versions, unless the client has it."""


def replayable(responses: Responses) -> Responses:
    """Document that an answer may be one that was given before, by an idempotency key."""
    return {
        status: {**response, "headers": {**response.get("headers", {}), **_REPLAYED}}
        for status, response in responses.items()
    }


def location_of(request: Request, created: UUID, *, posted_to: str = "") -> str:
    """Return the path of what a POST has created.

    Args:
        request: The POST.
        created: What it has created.
        posted_to: Where the request went below the collection, if not to the collection itself.
    """
    path: str = request.scope["path"]
    return f"{path.removesuffix(posted_to)}/{created}"
