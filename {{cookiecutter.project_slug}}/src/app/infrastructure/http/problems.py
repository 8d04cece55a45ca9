"""Problem details (RFC 9457): the body of every error response, and its documentation."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, Field
from starlette.responses import Response

from app.core.errors import (
    Conflict,
    ContentTooLarge,
    DomainError,
    FieldError,
    Forbidden,
    InvalidInput,
    NotFound,
    PreconditionFailed,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    UnsupportedContent,
)
from app.infrastructure.http.context import Scope, request_context

F = TypeVar("F", bound=Callable[..., Any])
Responses = dict[int | str, dict[str, Any]]

MAX_ERRORS: Final = 20
"""Number of field errors that a problem lists; the others are counted."""

MAX_PROBLEM_BYTES: Final = 16 * 1024
"""Maximum size of an error response (rule SEC17)."""

_MAX_PATH: Final = 200
_MAX_DETAIL: Final = 500
_MAX_MESSAGE: Final = 300

MEDIA_TYPE: Final = "application/problem+json"
_STATUSES: Final[dict[type[DomainError], int]] = {
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    PreconditionFailed: 412,
    ContentTooLarge: 413,
    UnsupportedContent: 415,
    InvalidInput: 422,
    TooManyRequests: 429,
    Unavailable: 503,
}
_EXAMPLE_PATH: Final = "/api/v1/path"
_EXAMPLE_REQUEST_ID: Final = "01976d5e-9f00-7d12-b2f4-0c6a3e5d7f21"
_EXAMPLE_FIELD: Final = {
    "field": "body.name",
    "message": "String should have at least 1 character",
    "code": "string_too_short",
}


class FieldProblem(BaseModel):
    """An error in one field."""

    field: str = Field(
        description="Location: the part of the request, then the path in it, joined by dots.",
        examples=[_EXAMPLE_FIELD["field"]],
    )
    message: str = Field(
        description="Human-readable explanation.", examples=[_EXAMPLE_FIELD["message"]]
    )
    code: str = Field(
        description="Machine-readable error. Stable.", examples=[_EXAMPLE_FIELD["code"]]
    )


class Problem(BaseModel):
    """An error response (RFC 9457)."""

    type: str = Field(
        description="URI of the problem type: `urn:problem:` and the code.",
        examples=["urn:problem:not_found"],
    )
    title: str = Field(description="Short summary of the problem type.", examples=["Not found"])
    status: int = Field(ge=400, le=599, description="HTTP status code.", examples=[404])
    detail: str = Field(
        description="Human-readable explanation of this occurrence.", examples=["Not found."]
    )
    instance: str = Field(description="Path of the request.", examples=[_EXAMPLE_PATH])
    code: str = Field(
        description="Machine-readable problem type. Stable: branch on this.",
        examples=["not_found"],
    )
    request_id: str = Field(
        description="`X-Request-ID` of the request. Include it when contacting support.",
        examples=[_EXAMPLE_REQUEST_ID],
    )
    errors: list[FieldProblem] = Field(
        default_factory=list,
        description=f"First {MAX_ERRORS} errors by field; absent if the problem is not about "
        "fields.",
        examples=[[_EXAMPLE_FIELD]],
    )
    more_errors: int = Field(
        0,
        ge=0,
        description="Number of errors that are not listed; absent if all are.",
        examples=[0],
    )


@dataclass(frozen=True, slots=True)
class ProblemType:
    """The constant part of all problems with one code.

    Attributes:
        detail: Used where an occurrence has none of its own.
        retryable: Whether the response has `Retry-After`.
        located: Whether the response may have `Location`.
    """

    status: int
    code: str
    title: str
    detail: str
    retryable: bool = False
    located: bool = False


def problem_type(error: type[DomainError]) -> ProblemType:
    """Return the problem type of an error; the status is that of its family, 500 without one."""
    status = next((_STATUSES[base] for base in error.__mro__ if base in _STATUSES), 500)
    retryable = issubclass(error, TooManyRequests) or hasattr(error, "retry_after")
    located = hasattr(error, "location")
    return ProblemType(status, error.code, error.title, f"{error.title}.", retryable, located)


MALFORMED: Final = ProblemType(
    400, "malformed_request", "Malformed request", "The request could not be parsed."
)
INVALID_HOST: Final = ProblemType(
    400, "invalid_host", "Invalid host", "The `Host` header does not name a host of this service."
)
CORS_REFUSED: Final = ProblemType(
    400, "cors_refused", "Cross-origin request refused", "The origin is not allowed."
)
REPEATED: Final = replace(MALFORMED, detail="A header that has one value was sent more than once.")
HOST_MISSING: Final = replace(MALFORMED, detail="The request has no `Host`.")
UNKNOWN_CODING: Final = ProblemType(
    501,
    "transfer_coding_unsupported",
    "Transfer coding not supported",
    "`Transfer-Encoding` must be `chunked`.",
)
UNKNOWN_VERSION: Final = ProblemType(
    505, "version_unsupported", "HTTP version not supported", "Send HTTP/1.1."
)
PATH_NOT_FOUND: Final = ProblemType(
    404, "path_not_found", "Path not found", "No operation has this path."
)
METHOD_NOT_ALLOWED: Final = ProblemType(
    405, "method_not_allowed", "Method not allowed", "The `Allow` header lists the methods."
)
TOO_LARGE: Final = replace(
    problem_type(ContentTooLarge),
    detail="The request body exceeds the limit of this operation, in bytes or in JSON values.",
)
TOO_SLOW: Final = ProblemType(
    408, "request_timeout", "Request timeout", "The request body arrived too slowly."
)
ENCODED: Final = replace(
    problem_type(UnsupportedContent),
    detail="`Content-Encoding` is not supported in requests: send the body unencoded.",
)
INTERNAL: Final = ProblemType(
    500,
    "internal_error",
    "Internal server error",
    "Unexpected error. Include the request ID when contacting support.",
)


def problem_response(
    scope: Scope,
    problem: ProblemType,
    *,
    detail: str | None = None,
    errors: Sequence[FieldError] = (),
    more_errors: int = 0,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a problem as a response, which is an ASGI application that middleware can call.

    Its size is bounded. `more_errors` is the number of errors that are not in `errors`.
    """
    context = request_context(scope)
    context.code = problem.code
    detail = (detail or problem.detail)[:_MAX_DETAIL]
    body = _body(problem, detail, instance_of(scope), context.request_id)
    room = MAX_PROBLEM_BYTES - len(_json(body)) - len('"errors":[],"more_errors":') - 20
    fields = []
    for error in errors[:MAX_ERRORS]:
        message = error.message[:_MAX_MESSAGE]
        field = {"field": error.field, "message": message, "code": error.code}
        room -= len(_json(field)) + 1
        if room < 0:
            break
        fields.append(field)
    if fields:
        body["errors"] = fields
    if more := len(errors) - len(fields) + more_errors:
        body["more_errors"] = more
    return Response(_json(body), problem.status, headers, MEDIA_TYPE)


def instance_of(scope: Scope) -> str:
    """Return the path as a URI reference, shortened and escaped."""
    return quote(scope["path"][:_MAX_PATH], safe="/:@!$&'()*+,;=~")


def problems(*errors: type[DomainError]) -> Responses:
    """Document the errors of an operation: the value of its `responses=`."""
    responses: Responses = {}
    for error in errors:
        problem = problem_type(error)
        document(responses, problem, key=problem.status)
    return responses


def raises(*errors: type[DomainError]) -> Callable[[F], F]:
    """Document the errors of a dependency on every operation that depends on it."""

    def mark(dependency: F) -> F:
        dependency.__dict__["problems"] = errors
        return dependency

    return mark


def document(responses: dict[Any, dict[str, Any]], problem: ProblemType, *, key: int | str) -> None:
    """Add a problem type to the responses of an operation, in the entry of its status."""
    response = responses.setdefault(key, {})
    content = response.setdefault("content", {}).setdefault(MEDIA_TYPE, {})
    content["schema"] = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    value = _body(problem, problem.detail, _EXAMPLE_PATH, _EXAMPLE_REQUEST_ID)
    if problem.status == _STATUSES[InvalidInput]:
        value["errors"] = [_EXAMPLE_FIELD]
    examples = content.setdefault("examples", {})
    examples[problem.code] = {"summary": problem.title, "value": value}
    response["description"] = "; ".join(
        f"`{code}`: {example['summary']}" for code, example in examples.items()
    )
    if problem.status == _STATUSES[Unauthenticated]:
        response.setdefault("headers", {})["WWW-Authenticate"] = _WWW_AUTHENTICATE
    if problem.retryable:
        # Only some conflicts resolve by themselves.
        always = problem.status != _STATUSES[Conflict]
        response.setdefault("headers", {})["Retry-After"] = {**_RETRY_AFTER, "required": always}
    if problem.located:
        response.setdefault("headers", {})["Location"] = _LOCATION


_WWW_AUTHENTICATE: Final = {
    "description": "Authentication scheme and error (RFC 6750 §3, RFC 9470 §3).",
    "required": True,
    "schema": {"type": "string", "examples": ['Bearer error="invalid_token"']},
}
_RETRY_AFTER: Final = {
    "description": "Seconds to wait before a retry (RFC 9110 §10.2.3).",
    "schema": {"type": "integer", "minimum": 1, "examples": [30]},
}
_LOCATION: Final = {
    "description": "Path of the resource, with some of these problems (RFC 9110 §10.2.2).",
    "required": False,
    "schema": {"type": "string", "examples": [_EXAMPLE_PATH]},
}


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _body(
    problem: ProblemType, detail: str, instance: object, request_id: object
) -> dict[str, object]:
    return {
        "type": f"urn:problem:{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "detail": detail,
        "instance": instance,
        "code": problem.code,
        "request_id": request_id,
    }
