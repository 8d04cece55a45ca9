"""From errors to `application/problem+json` (RFC 9457): the only place where HTTP and errors meet.

`_STATUS` gives each family of domain errors its status, `_HTTP` names what the framework and our
middleware refuse. Whatever is in neither is a bug: it is logged, and the client learns nothing.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import quote

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError, ResponseValidationError
from fastapi.routing import RouteContext, iter_route_contexts
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.responses import Response

from app.core.errors import (
    Conflict,
    ContentTooLarge,
    DomainError,
    FieldError,
    Forbidden,
    InsufficientScope,
    InvalidInput,
    InvalidToken,
    NotFound,
    PreconditionFailed,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    UnsupportedContent,
)
from app.core.logging import LoggedError
from app.domain.idempotency import Answer, IdempotencyKeyInUse
from app.infrastructure.http.context import Scope, request_context
from app.infrastructure.http.problem_schema import Problem

logger = structlog.stdlib.get_logger(__name__)

F = TypeVar("F", bound=Callable[..., Any])
Responses = dict[int | str, dict[str, Any]]

_FORM = "application/x-www-form-urlencoded"

_STATUS: dict[type[DomainError], int] = {
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


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: what all its occurrences have in common.

    Attributes:
        status: The HTTP status.
        code: Its stable name.
        title: A few words.
        detail: What to say where there is nothing more exact.
    """

    status: int
    code: str
    title: str
    detail: str


def status_of(error: type[DomainError]) -> int:
    """The status of a class of domain errors: that of its family, and 500 without one."""
    return next((_STATUS[base] for base in error.__mro__ if base in _STATUS), 500)


def kind_of(error: type[DomainError]) -> Kind:
    """The kind of problem that a class of domain errors is."""
    return Kind(status_of(error), error.code, error.title, f"{error.title}.")


_HTTP: dict[int, Kind] = {
    kind.status: kind
    for kind in (
        kind_of(Unauthenticated),
        kind_of(Forbidden),
        Kind(
            400,
            "malformed_request",
            "The request is malformed",
            "The request could not be read: look at its body and its headers.",
        ),
        Kind(404, "path_not_found", "There is nothing at this path", "No operation has this path."),
        Kind(
            405,
            "method_not_allowed",
            "The path does not have this method",
            "The `Allow` header names the methods of this path.",
        ),
        replace(
            kind_of(ContentTooLarge),
            detail="The request body is larger than this operation accepts.",
        ),
        Kind(
            500,
            "internal_error",
            "Something went wrong on our side",
            "It is in our log. Quote the request id when you ask about it.",
        ),
    )
}
MALFORMED, TOO_LARGE, INTERNAL = _HTTP[400], _HTTP[413], _HTTP[500]
ENCODED = replace(
    kind_of(UnsupportedContent),
    detail="The request body must come as it is, without a `Content-Encoding`.",
)
INVALID_HOST = Kind(
    400,
    "invalid_host",
    "The host is not served here",
    "The `Host` header names no host of this service.",
)
CORS_REFUSED = Kind(
    400,
    "cors_refused",
    "The cross-origin request is not permitted",
    "This origin may not send this request.",
)


class BodyTooLarge(HTTPException):
    """A body passed its limit while it was read.

    It is the framework's kind of exception because FastAPI takes any other, raised while it reads
    a body, for a malformed one.
    """

    def __init__(self) -> None:
        super().__init__(status_code=TOO_LARGE.status)


class AnsweredBefore(Exception):
    """No error: a request with an idempotency key is to get the answer that it got before."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


def install(app: FastAPI) -> None:
    """Register the handlers."""
    app.exception_handler(AnsweredBefore)(_answered_before)
    app.exception_handler(DomainError)(_domain_error)
    app.exception_handler(RequestValidationError)(_invalid_request)
    app.exception_handler(ResponseValidationError)(_invalid_response)
    app.exception_handler(HTTPException)(_http_exception)
    app.exception_handler(Exception)(_unexpected)


def problem_response(
    scope: Scope,
    kind: Kind,
    *,
    detail: str | None = None,
    errors: Iterable[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem as a response, which is an ASGI application: middleware can send it, too.

    Args:
        scope: The scope of the request that it answers.
        kind: What went wrong.
        detail: This occurrence in a sentence; by default that of the kind.
        errors: What is wrong with each field, if it is about fields.
        headers: Headers that belong to it, such as `Retry-After`.
    """
    context = request_context(scope)
    context.code = kind.code
    body = _body(kind, detail or kind.detail, _instance(scope), context.request_id)
    fields = [{"field": e.field, "message": e.message, "code": e.code} for e in errors]
    if fields:
        body["errors"] = fields
    return Response(
        json.dumps(body, separators=(",", ":")).encode(),
        status_code=kind.status,
        headers=headers,
        media_type=Problem.MEDIA_TYPE,
    )


def unexpected_response(scope: Scope, error: Exception) -> Response:
    """Log an error that nobody foresaw, and answer without a word about it."""
    log_unexpected(scope, error)
    return problem_response(scope, INTERNAL)


def log_unexpected(scope: Scope, error: Exception) -> None:
    """Log an error that nobody foresaw, once, with its request, user and trace."""
    if isinstance(error, LoggedError):
        return
    context = request_context(scope)
    logger.error(
        "unexpected error",
        method=scope.get("method"),
        path=_instance(scope),
        request_id=context.request_id,
        user_id=context.user_id,
        exc_info=error,
    )


def log_broken_off(scope: Scope, error: Exception) -> None:
    """Log what ended an answer that had begun: what was unavailable, or an error of ours."""
    # In this, the framework wraps errors that it could have answered before.
    is_wrapper = type(error) is RuntimeError and "response already started" in str(error)
    cause = error.__cause__ if is_wrapper else error
    kind = kind_of(type(cause)) if isinstance(cause, DomainError) else INTERNAL
    request_context(scope).code = kind.code
    if isinstance(cause, DomainError) and kind.status > INTERNAL.status:
        _log_unavailable(kind, cause)
    else:
        log_unexpected(scope, error)


def problems(*errors: type[DomainError]) -> Responses:
    """Document the errors of an operation: the value for its `responses=`.

    Errors with one status share an entry, which lists their codes and has an example for each.
    """
    responses: Responses = {}
    for error in errors:
        document(responses, kind_of(error), key=status_of(error))
    return responses


def raises(*errors: type[DomainError]) -> Callable[[F], F]:
    """Name the errors a dependency may raise: every operation that depends on it documents them."""

    def mark(dependency: F) -> F:
        dependency.__dict__["problems"] = errors
        return dependency

    return mark


def document(responses: dict[Any, dict[str, Any]], kind: Kind, *, key: int | str) -> None:
    """Add a kind of problem to the documented responses of an operation."""
    response = responses.setdefault(key, {})
    content = response.setdefault("content", {}).setdefault(Problem.MEDIA_TYPE, {})
    content["schema"] = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    value = _body(kind, kind.detail, "/api/v1/items", "01976d5e-9f00-7d12-b2f4-0c6a3e5d7f21")
    if kind.status == HTTPStatus.UNPROCESSABLE_ENTITY:
        value["errors"] = [
            {"field": "body.title", "message": "Field required", "code": "missing"},
        ]
    examples = content.setdefault("examples", {})
    examples[kind.code] = {"summary": kind.title, "value": value}
    response["description"] = "; ".join(
        f"`{code}`: {example['summary']}" for code, example in examples.items()
    )
    headers = {name: _HEADERS[name] for name in _HEADERS_OF.get(kind.status, ())}
    if kind.code == IdempotencyKeyInUse.code:
        # Other conflicts are not over by themselves, and share the entry.
        headers["Retry-After"] = {**_HEADERS["Retry-After"], "required": False}
    if headers:
        response.setdefault("headers", {}).update(headers)


_HEADERS: dict[str, dict[str, Any]] = {
    "WWW-Authenticate": {
        "description": "How to authenticate, and why that failed (RFC 6750 §3).",
        "required": True,
        "schema": {"type": "string", "examples": ['Bearer error="invalid_token"']},
    },
    "Retry-After": {
        "description": "Seconds until another try makes sense (RFC 9110 §10.2.3).",
        "required": True,
        "schema": {"type": "integer", "minimum": 1, "examples": [30]},
    },
}
_HEADERS_OF: dict[int, tuple[str, ...]] = {
    401: ("WWW-Authenticate",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}


async def _answered_before(_: Request, before: AnsweredBefore) -> Response:
    answer = before.answer
    headers = {**dict(answer.headers), "Idempotency-Replayed": "true"}
    return Response(answer.body, status_code=answer.status, headers=headers)


async def _domain_error(request: Request, error: DomainError) -> Response:
    kind = kind_of(type(error))
    if kind.status == INTERNAL.status:
        return unexpected_response(request.scope, error)
    context = request_context(request.scope)
    context.facts = error.context or None
    if kind.status > INTERNAL.status:
        _log_unavailable(kind, error)
    return problem_response(
        request.scope,
        kind,
        detail=error.detail,
        errors=getattr(error, "errors", ()),
        headers=_headers(error),
    )


def _log_unavailable(kind: Kind, error: DomainError) -> None:
    cause = type(error.__cause__).__name__ if error.__cause__ else None
    logger.warning("unavailable", code=kind.code, cause=cause, facts=error.context)


async def _invalid_request(request: Request, error: RequestValidationError) -> Response:
    faults = error.errors()
    if any(fault["loc"][0] == "path" for fault in faults) and any(
        map(_is_concrete, _fitting(request))
    ):
        # What was taken for an id is the last word of a path that has no such method.
        return await _http_exception(request, HTTPException(HTTPStatus.METHOD_NOT_ALLOWED))
    if any(fault["type"] == "json_invalid" and fault["loc"][0] == "body" for fault in faults):
        return problem_response(request.scope, MALFORMED, detail="The body is not valid JSON.")
    if isinstance(error.body, bytes) and any(fault["loc"][0] == "body" for fault in faults):
        # The framework has left it as it came: by its type, or without one, it is no JSON.
        detail = "The body was not read: its `Content-Type` must be `application/json`."
        return problem_response(request.scope, kind_of(UnsupportedContent), detail=detail)
    if isinstance(error.body, FormData) and not _is_form(request):
        detail = f"The body was not read: its `Content-Type` must be `{_FORM}`."
        return problem_response(request.scope, kind_of(UnsupportedContent), detail=detail)
    errors = [_field_error(fault) for fault in faults]
    kind = kind_of(InvalidInput)
    return problem_response(
        request.scope, kind, detail="Look at `errors` for what is wrong.", errors=errors
    )


def _is_form(request: Request) -> bool:
    """Whether a body is a form, or there is none that says it is anything else."""
    media_type, _, _ = request.headers.get("content-type", _FORM).partition(";")
    return media_type.strip().lower() in {_FORM, "multipart/form-data"}


async def _invalid_response(request: Request, error: ResponseValidationError) -> Response:
    """Our own mistake. What was about to be answered may be secret, so only its shape is logged."""
    logger.error(
        "the response does not fit its model",
        errors=[(_path(fault["loc"]), fault["type"]) for fault in error.errors()],
    )
    return problem_response(request.scope, INTERNAL)


async def _http_exception(request: Request, error: HTTPException) -> Response:
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_methods(request)) or headers.get("Allow", "")
    status = HTTPStatus(error.status_code)
    kind = _HTTP.get(status) or Kind(
        status, status.name.lower(), status.phrase, f"{status.phrase}."
    )
    return problem_response(request.scope, kind, headers=headers)


async def _unexpected(request: Request, error: Exception) -> Response:
    return unexpected_response(request.scope, error)


def _headers(error: DomainError) -> dict[str, str]:
    if isinstance(error, TooManyRequests | Unavailable | IdempotencyKeyInUse):
        return {"Retry-After": str(error.retry_after)}
    if isinstance(error, InvalidToken):
        why = f'error="invalid_token", error_description="{error.title}"'
        return {"WWW-Authenticate": f"Bearer {why}"}
    if isinstance(error, InsufficientScope):
        scope = " ".join(error.required)
        return {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'}
    if isinstance(error, Unauthenticated):
        return {"WWW-Authenticate": "Bearer"}
    return {}


def _body(kind: Kind, detail: str, instance: str, request_id: str) -> dict[str, Any]:
    return {
        "type": f"urn:problem:{kind.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "instance": instance,
        "code": kind.code,
        "request_id": request_id,
    }


def _instance(scope: Scope) -> str:
    """The path, fit for a URI reference and for a log line whatever the client sent."""
    return quote(scope["path"], safe="/:@!$&'()*+,;=~")


def _field_error(fault: Mapping[str, Any]) -> FieldError:
    """Name the fault without what was sent: neither the input nor what it was compared with."""
    code = fault["type"]
    message = _MESSAGES.get(code) or fault["msg"].removeprefix("Value error, ")
    return FieldError(_path(fault["loc"]), message, code)


# Messages of Pydantic that quote what the client sent.
_MESSAGES = {
    "union_tag_invalid": "The tag names none of the kinds that are accepted",
    "uuid_parsing": "Input should be a valid UUID",
    "url_parsing": "Input should be a valid URL",
    "datetime_parsing": "Input should be a valid date and time",
    "datetime_from_date_parsing": "Input should be a valid date and time",
    "date_parsing": "Input should be a valid date",
    "date_from_datetime_parsing": "Input should be a valid date",
    "time_parsing": "Input should be a valid time",
    "time_delta_parsing": "Input should be a valid duration",
    "json_invalid": "Input should be valid JSON",
}


def _path(location: Iterable[object]) -> str:
    """The location of a fault, bounded: an unknown field's name is the client's own text."""
    return ".".join(str(part)[:100] for part in location)[:400]


def _methods(request: Request) -> list[str]:
    """All methods of a path, where the framework names those of the first route that has it."""
    fitting = _fitting(request)
    routes = list(filter(_is_concrete, fitting)) or fitting
    methods = {method for route in routes for method in route.methods or ()}
    if "GET" in methods:
        methods.add("HEAD")
    return sorted(methods)


def _fitting(request: Request) -> list[RouteContext]:
    """The routes that fit a request's path, whatever its method."""
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    return [
        route
        for route in iter_route_contexts(request.app.routes)
        if route.methods and route.path_regex.match(path)
    ]


def _is_concrete(route: RouteContext) -> bool:
    """Whether a path has no parameters: it comes before others that it fits (OpenAPI, Paths)."""
    return "{" not in (route.path or "")
