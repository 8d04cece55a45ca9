"""State of a request, kept in its ASGI scope."""

import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from starlette.requests import HTTPConnection
from starlette.responses import Response
from structlog.contextvars import bind_contextvars
from uuid_utils import uuid7

from app.infrastructure.events import RequestEvents
from app.infrastructure.limits import Quota

HEAD = "app.head"
"""Key of the scopes in which a HEAD is answered as a GET."""

_CONTEXT = "app.request"
_WELL_FORMED = re.compile(rb"[A-Za-z0-9._-]{1,128}")

Scope = MutableMapping[str, Any]


@dataclass(slots=True)
class RequestContext:
    """Metadata of a request, for its log line and response headers.

    Attributes:
        request_id: The client's `X-Request-ID` if well-formed, else a new UUID.
        status: The status sent; None until the response has started.
        code: The code of the problem that was sent, or that aborted the response.
        details: Context of an error, for the log only.
        events: Published events, for the log.
        user_id: The authenticated user.
        quotas: The state of each rate limit that was checked.
        on_end: Called when the response has ended.
        before_commit: Called with the response before the transaction is committed.
    """

    request_id: str
    status: int | None = None
    code: str | None = None
    details: dict[str, object] | None = None
    events: RequestEvents = field(default_factory=RequestEvents)
    user_id: str | None = None
    quotas: list[Quota] = field(default_factory=list)
    on_end: list[Callable[[], None]] = field(default_factory=list)
    before_commit: Callable[[Response], Awaitable[None]] | None = None


def request_context(scope: Scope) -> RequestContext:
    """Return the context of a request, created on first use."""
    context: RequestContext | None = scope.get(_CONTEXT)
    if context is None:
        context = scope[_CONTEXT] = RequestContext(_request_id(scope["headers"]))
    return context


def identify(
    connection: HTTPConnection,
    user_id: UUID,
    *,
    session_id: UUID | None = None,
    api_key_id: UUID | None = None,
) -> None:
    """Add the user, and the session or API key in use, to all log lines of the request."""
    request_context(connection.scope).user_id = str(user_id)
    ids = {"user_id": user_id, "session_id": session_id, "api_key_id": api_key_id}
    bind_contextvars(**{name: str(value) for name, value in ids.items() if value is not None})


def is_head(scope: Scope) -> bool:
    """Return whether the body will be dropped, so that it need not be fetched."""
    return HEAD in scope


def route_template(scope: Scope) -> str | None:
    """Return the path template of the matched route, such as `/api/v1/users/{user_id}`."""
    # The route of an included router only knows its own part of the path.
    effective = scope.get("fastapi", {}).get("effective_route_context")
    route = scope.get("route") if effective is None else effective.starlette_route or effective
    if route is not None:
        template: str = route.path_format
        return template
    # A plain Starlette route is not in the scope; without parameters its path is its template.
    return scope["path"] if "endpoint" in scope and not scope.get("path_params") else None


def _request_id(headers: list[tuple[bytes, bytes]]) -> str:
    for name, value in headers:
        if name == b"x-request-id":
            if _WELL_FORMED.fullmatch(value):
                return value.decode("ascii")
            break
    return str(uuid7())
