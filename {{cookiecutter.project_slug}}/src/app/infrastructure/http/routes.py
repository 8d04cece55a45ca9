"""Helpers for routes: a router, the headers of responses, entity tags."""

from collections import Counter
from collections.abc import Callable, Container, Coroutine, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any, Final
from uuid import UUID

from fastapi import APIRouter, FastAPI
from fastapi.params import Depends, Form
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from app.core.errors import FieldError, InvalidInput
from app.infrastructure.http.context import request_context
from app.infrastructure.http.problems import Responses
from app.infrastructure.http.schemas import EXAMPLE_ID

OPEN: Final[dict[str, Any]] = {"security": []}
"""The `openapi_extra` of an operation that needs no credentials."""

_ETAG: Final = {
    "ETag": {
        "description": "Version, for `If-Match` and `If-None-Match` (RFC 9110 §8.8.3).",
        "required": True,
        "schema": {"type": "string", "examples": ['"1"']},
    }
}
_REPLAYED: Final = {
    "Idempotency-Replayed": {
        "description": "Present if this is the stored response to an earlier request with the key.",
        "schema": {"type": "string", "enum": ["true"], "examples": ["true"]},
    }
}

ATTACHMENT: Final = {
    "Content-Disposition": {
        "description": "Name of the file to save (RFC 6266).",
        "required": True,
        "schema": {"type": "string", "examples": ['attachment; filename="name.csv"']},
    }
}
"""Documents the header of a download."""

VERSION: Final[Responses] = {200: {"headers": _ETAG}}
"""Documents an operation that returns a resource with versions."""

VERSION_OR_NOT_MODIFIED: Final[Responses] = {
    **VERSION,
    304: {"description": "Not modified.", "headers": _ETAG},
}
"""Documents an operation that returns a resource with versions unless the client has it."""


Addition = Callable[[APIRouter, str, list[Depends]], None]
"""Adds a route to a router, below a prefix and behind dependencies."""


class FeatureRouter(APIRouter):
    """The routes of a feature, which `include_in` adds to the application.

    FastAPI's `include_router` matches each request twice, to find the router and again inside it,
    which is an eighth of the cost of an authenticated GET.
    """

    def __init__(
        self, *, prefix: str, tags: list[str], dependencies: Sequence[Depends] = ()
    ) -> None:
        super().__init__(prefix=prefix, tags=[*tags], dependencies=dependencies)
        self._additions: list[Addition] = []

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """Declare an operation; the decorators call this."""
        of_form = [Depends(_refuse_repeated_fields)] if _has_form(endpoint) else []

        def add(router: APIRouter, prefix: str, dependencies: list[Depends]) -> None:
            router.add_api_route(
                f"{prefix}{self.prefix}{path}",
                endpoint,
                **options
                | {
                    "tags": [*self.tags, *(options.get("tags") or ())],
                    "dependencies": [
                        *dependencies,
                        *(options.get("dependencies") or ()),
                        *of_form,
                    ],
                    "route_class_override": _Operation,
                },
            )

        self._additions.append(add)

    def include_in(self, app: FastAPI, *, prefix: str, dependencies: Sequence[Depends]) -> None:
        """Add the routes to an application, below a prefix and behind dependencies.

        Raises:
            TypeError: It has a mount, an included router or the like, which would be lost.
        """
        if self.routes:
            raise TypeError(
                f"{self.prefix} takes operations only; add these to the app: {self.routes}"
            )
        for add in self._additions:
            add(app.router, prefix, [*dependencies, *self.dependencies])


def _has_form(endpoint: Callable[..., Any]) -> bool:
    return any(
        isinstance(each, Form)
        for parameter in signature(endpoint).parameters.values()
        for each in getattr(parameter.annotation, "__metadata__", ())
    )


async def _refuse_repeated_fields(request: Request) -> None:
    """Refuse forms that repeat a field (RFC 6749 §3.2), whose first value would be ignored."""
    form = await request.form()  # which FastAPI has parsed
    if len(form) < len(form.multi_items()):
        seen = Counter(name for name, _ in form.multi_items())
        name = next(name for name, number in seen.items() if number > 1)
        field = f"body.{name[:100]}"
        raise InvalidInput(FieldError(field, "The field occurs more than once", "repeated"))


class _Operation(APIRoute):
    """An operation, whose response may be stored in the transaction of its request.

    Its pattern is tried only if the literal part of its path matches.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self._literal, parameter, _ = path.partition("{")
        self._is_literal = not parameter

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler; function-scoped dependencies are open until it has returned."""
        handle = super().get_route_handler()

        async def handle_and_store(request: Request) -> Response:
            response = await handle(request)
            if (store := request_context(request.scope).before_commit) is not None:
                await store(response)
            return response

        return handle_and_store

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match a request."""
        path: str = scope["path"]  # it may begin with a `root_path`
        if not (path.endswith(self._literal) if self._is_literal else self._literal in path):
            return Match.NONE, {}
        return super().matches(scope)


def created(collection: str, *, versions: bool = False) -> Responses:
    """Document an operation that creates a resource in a collection, such as `/api/v1/users`."""
    location = {
        "description": "Path of the new resource (RFC 9110 §10.2.2).",
        "required": True,
        "schema": {"type": "string", "examples": [f"{collection}/{EXAMPLE_ID}"]},
    }
    return {201: {"headers": {"Location": location, **(_ETAG if versions else {})}}}


def replayable(responses: Responses) -> Responses:
    """Document that a response may be that of an earlier request with the same key."""
    return {
        status: {**response, "headers": {**response.get("headers", {}), **_REPLAYED}}
        for status, response in responses.items()
    }


def location_of(request: Request, resource_id: UUID) -> str:
    """Return the path of a resource created by a POST to its collection."""
    return f"{request.scope['path']}/{resource_id}"


def names_tag(header: str, tag: str, *, weak: bool = False) -> bool:
    """Return whether an `If-Match` or `If-None-Match` header, `*` or a list, has an entity tag.

    Weak tags count in `If-None-Match` (RFC 9110 §13.1.2), and `*` counts only alone.
    """
    tags = [each.strip() for each in header.split(",")]
    if weak:
        tags = [each.removeprefix("W/") for each in tags]
    return tags == ["*"] or tag in tags


def tag_of(version: int) -> str:
    """Return the entity tag of a version."""
    return f'"{version}"'


@dataclass(frozen=True, slots=True)
class Preconditions(Container[int]):
    """The versions that may be changed under the headers of a request (RFC 9110 §13.2.2)."""

    if_match: str | None = None
    if_none_match: str | None = None

    def __contains__(self, version: object) -> bool:
        """Return whether both conditions are true of a resource that exists."""
        tag = f'"{version}"'
        return (self.if_match is None or names_tag(self.if_match, tag)) and not (
            self.if_none_match is not None and names_tag(self.if_none_match, tag, weak=True)
        )
