"""What is known of a request while it runs, kept in its ASGI scope."""

import re
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from starlette.requests import HTTPConnection
from uuid_utils import uuid7

from app.domain.auth import Principal
from app.domain.idempotency import Claim
from app.infrastructure.rate_limits import Quota

_KEY = "app.request"
_HEAD = "app.head"
_WELL_FORMED = re.compile(rb"[A-Za-z0-9._-]{1,128}")

Scope = MutableMapping[str, Any]


@dataclass(slots=True)
class RequestContext:
    """One request, as its log line and its response headers will tell it.

    Attributes:
        request_id: The client's `X-Request-ID` if it was well-formed, else one of ours.
        status: The status that was sent; None until the response has begun.
        code: The code of the problem that was answered, or that ended the answer, if there was one.
        facts: The context of a domain error, for the log line alone.
        user_id: Who is asking, once that is known.
        session_id: The login by which they ask, if it is one.
        api_key_id: The API key by which they ask, if it is one.
        quotas: What is left of each rate limit that was asked.
        claim: The idempotency key that the request has claimed, until its answer is kept.
    """

    request_id: str
    status: int | None = None
    code: str | None = None
    facts: dict[str, object] | None = None
    user_id: str | None = None
    session_id: str | None = None
    api_key_id: str | None = None
    quotas: list[Quota] = field(default_factory=list)
    claim: Claim | None = None


def begin(scope: Scope) -> RequestContext:
    """Open the context of a request, with the client's id for it if that is fit to be logged."""
    context = RequestContext(_request_id(scope["headers"]))
    scope[_KEY] = context
    return context


def request_context(scope: Scope) -> RequestContext:
    """The context of a request; one is opened where none of our middleware came first."""
    context: RequestContext | None = scope.get(_KEY)
    return context or begin(scope)


def as_get(scope: Scope) -> Scope:
    """A HEAD as a GET, for routes, which have no other way to answer it."""
    return {**scope, "method": "GET", _HEAD: True}


def is_head(scope: Scope) -> bool:
    """Whether nobody will get the body of what is answered, so that it need not be fetched."""
    return _HEAD in scope


def identify(connection: HTTPConnection, principal: Principal) -> None:
    """Name who is asking: from here on it stands in each log line of the request.

    By which login or key stands in the last of them, so that a stolen one can be told and revoked.
    """
    context = request_context(connection.scope)
    context.user_id = str(principal.id)
    context.session_id = str(principal.session_id) if principal.session_id else None
    context.api_key_id = str(principal.api_key_id) if principal.api_key_id else None
    structlog.contextvars.bind_contextvars(user_id=context.user_id)


def route_template(scope: Scope) -> str | None:
    """The full path template of the matched route, such as `/api/v1/items/{item_id}`.

    The routes of an included router know their own part of the path only. FastAPI leaves the
    effective route, prefixes and all, in its part of the scope.
    """
    effective = scope.get("fastapi", {}).get("effective_route_context")
    route = scope.get("route") if effective is None else effective.starlette_route or effective
    if route is not None:
        template: str = route.path_format
        return template
    # A plain Starlette route leaves no trace of itself; without parameters it is its own template.
    return scope["path"] if "endpoint" in scope and not scope.get("path_params") else None


def _request_id(headers: list[tuple[bytes, bytes]]) -> str:
    for name, value in headers:
        if name == b"x-request-id":
            if _WELL_FORMED.fullmatch(value):
                return value.decode("ascii")
            break
    return str(uuid7())
