"""Headers of responses, as they are set and as they are documented."""

from typing import Final
from uuid import UUID

from starlette.requests import Request

from app.infrastructure.http.problems import Responses
from app.infrastructure.http.schemas import EXAMPLE_ID

_ETAG: Final = {
    "ETag": {
        "description": "The version, for `If-Match` and `If-None-Match` (RFC 9110 §8.8.3).",
        "required": True,
        "schema": {"type": "string", "examples": ['"1"']},
    }
}
_REPLAYED: Final = {
    "Idempotency-Replayed": {
        "description": "That this answer was given before, to a request with the same key.",
        "schema": {"type": "string", "enum": ["true"], "examples": ["true"]},
    }
}

ATTACHMENT: Final = {
    "Content-Disposition": {
        "description": "That it is to be saved, and under which name (RFC 6266).",
        "required": True,
        "schema": {"type": "string", "examples": ['attachment; filename="items.csv"']},
    }
}
"""Documents the header of what is to be saved as a file."""

VERSION: Final[Responses] = {200: {"headers": _ETAG}}
"""Documents an operation that returns something with versions."""

VERSION_OR_NOT_MODIFIED: Final[Responses] = {
    **VERSION,
    304: {"description": "You have this version already.", "headers": _ETAG},
}
"""Documents an operation that returns something with versions, unless the client has it."""


def created(collection: str, *, versions: bool = False) -> Responses:
    """Document an operation that creates something.

    Args:
        collection: The path of those like it, such as `/api/v1/items`.
        versions: Whether it has versions.
    """
    location = {
        "description": "Path of what was created (RFC 9110 §10.2.2).",
        "required": True,
        "schema": {"type": "string", "examples": [f"{collection}/{EXAMPLE_ID}"]},
    }
    return {201: {"headers": {"Location": location, **(_ETAG if versions else {})}}}


def replayable(responses: Responses) -> Responses:
    """Document that an answer may be one that was given before, by an idempotency key."""
    return {
        status: {**response, "headers": {**response.get("headers", {}), **_REPLAYED}}
        for status, response in responses.items()
    }


def location_of(request: Request, resource_id: UUID, *, posted_to: str = "") -> str:
    """Return the path of what a POST has created.

    Args:
        request: The POST.
        resource_id: What it has created.
        posted_to: Where the request went below the collection, if not to the collection itself.
    """
    path: str = request.scope["path"]
    return f"{path.removesuffix(posted_to)}/{resource_id}"
