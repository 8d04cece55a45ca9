"""Exception handlers: every error becomes a problem (rule ERR02)."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError, ResponseValidationError
from fastapi.routing import RouteContext, iter_route_contexts
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.responses import Response

from app.core.errors import (
    DomainError,
    FieldError,
    Forbidden,
    InsufficientScope,
    InsufficientUserAuthentication,
    InvalidInput,
    InvalidToken,
    Unauthenticated,
    UnsupportedContent,
)
from app.core.logging import LoggedError
from app.infrastructure.http.context import Scope, request_context
from app.infrastructure.http.problems import (
    INTERNAL,
    MALFORMED,
    MAX_ERRORS,
    METHOD_NOT_ALLOWED,
    PATH_NOT_FOUND,
    TOO_LARGE,
    TOO_SLOW,
    ProblemType,
    instance_of,
    problem_response,
    problem_type,
)

logger = structlog.stdlib.get_logger(__name__)

_FORM = "application/x-www-form-urlencoded"
_FRAMEWORK = {
    problem.status: problem
    for problem in (
        MALFORMED,
        problem_type(Unauthenticated),
        problem_type(Forbidden),
        PATH_NOT_FOUND,
        METHOD_NOT_ALLOWED,
        TOO_LARGE,
        TOO_SLOW,
        INTERNAL,
    )
}
# Pydantic messages that quote the input.
_MESSAGES = {
    "union_tag_invalid": "Input tag is not one of the expected tags",
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


class EarlyResponse(Exception):
    """Answer a request from within a dependency."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


def add_exception_handlers(app: FastAPI) -> None:
    """Register all handlers."""
    app.exception_handler(EarlyResponse)(_early_response)
    app.exception_handler(DomainError)(_domain_error)
    app.exception_handler(RequestValidationError)(_invalid_request)
    app.exception_handler(ResponseValidationError)(_invalid_response)
    app.exception_handler(HTTPException)(_http_exception)
    app.exception_handler(Exception)(_unexpected)


def unexpected_response(scope: Scope, error: Exception) -> Response:
    """Log an unexpected error and return a response without details."""
    log_unexpected(scope, error)
    return problem_response(scope, INTERNAL)


def log_unexpected(scope: Scope, error: Exception) -> None:
    """Log an unexpected error once, with its traceback."""
    if not isinstance(error, LoggedError):
        method, path = scope.get("method"), instance_of(scope)
        logger.error("unexpected error", method=method, path=path, exc_info=error)


def log_broken_off(scope: Scope, error: Exception) -> None:
    """Log the error that ended a response after its start."""
    # The framework wraps an error for which it has a handler.
    is_wrapper = type(error) is RuntimeError and "response already started" in str(error)
    cause = error.__cause__ if is_wrapper else error
    problem = problem_type(type(cause)) if isinstance(cause, DomainError) else INTERNAL
    request_context(scope).code = problem.code
    if isinstance(cause, DomainError) and problem.status > INTERNAL.status:
        _log_unavailable(problem, cause)
    else:
        log_unexpected(scope, error)


def _log_unavailable(problem: ProblemType, error: DomainError) -> None:
    cause = type(error.__cause__).__name__ if error.__cause__ else None
    logger.warning("unavailable", code=problem.code, cause=cause, details=error.context)


async def _early_response(_: Request, early: EarlyResponse) -> Response:
    return early.response


async def _domain_error(request: Request, error: DomainError) -> Response:
    problem = problem_type(type(error))
    if problem.status == INTERNAL.status:
        return unexpected_response(request.scope, error)
    request_context(request.scope).details = error.context or None
    if problem.status > INTERNAL.status:
        _log_unavailable(problem, error)
    return problem_response(
        request.scope,
        problem,
        detail=error.detail,
        errors=getattr(error, "errors", ()),
        headers=_headers(error),
    )


def _headers(error: DomainError) -> dict[str, str]:
    match error:
        case InvalidToken():
            challenge = f'Bearer error="invalid_token", error_description="{error.title}"'
        case InsufficientScope():
            challenge = f'Bearer error="insufficient_scope", scope="{" ".join(error.required)}"'
        case InsufficientUserAuthentication():
            challenge = (
                f'Bearer error="{error.code}", error_description="{error.title}",'
                f" max_age={error.max_age}"
            )
        case Unauthenticated():
            challenge = "Bearer"
        case _:
            headers = {
                "Retry-After": getattr(error, "retry_after", None),
                "Location": getattr(error, "location", None),
            }
            return {name: str(value) for name, value in headers.items() if value is not None}
    return {"WWW-Authenticate": challenge}


async def _invalid_request(request: Request, error: RequestValidationError) -> Response:
    faults = error.errors()
    parts = {fault["loc"][0] for fault in faults}
    if "path" in parts and any(map(_is_concrete, _routes_of(request))):
        # The last segment of another path, which lacks this method, was parsed as an ID.
        return await _http_exception(request, HTTPException(HTTPStatus.METHOD_NOT_ALLOWED))
    if "body" in parts:
        if any(fault["type"] == "json_invalid" for fault in faults):
            return problem_response(request.scope, MALFORMED, detail="The body is not valid JSON.")
        if expected := _expected_type(request, error.body):
            detail = f"The `Content-Type` of the body must be `{expected}`."
            return problem_response(request.scope, problem_type(UnsupportedContent), detail=detail)
    return problem_response(
        request.scope,
        problem_type(InvalidInput),
        detail="Invalid fields are listed in `errors`.",
        errors=[_field_error(fault) for fault in faults[:MAX_ERRORS]],
        more_errors=len(faults[MAX_ERRORS:]),
    )


def _expected_type(request: Request, body: object) -> str | None:
    """Return the media type that the framework expected, if the body has another one."""
    if isinstance(body, bytes):
        # Left unparsed.
        return "application/json"
    media_type, _, _ = request.headers.get("content-type", _FORM).partition(";")
    is_form = media_type.strip().lower() in {_FORM, "multipart/form-data"}
    return _FORM if isinstance(body, FormData) and not is_form else None


async def _invalid_response(request: Request, error: ResponseValidationError) -> Response:
    """Log the shape of a response that does not match its model: its values may be secret."""
    faults = [(_path(fault["loc"]), fault["type"]) for fault in error.errors()[:MAX_ERRORS]]
    logger.error("invalid response", errors=faults)
    return problem_response(request.scope, INTERNAL)


async def _http_exception(request: Request, error: HTTPException) -> Response:
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_methods(request)) or headers.get("Allow", "")
    status = HTTPStatus(error.status_code)
    problem = _FRAMEWORK.get(status) or ProblemType(
        status, status.name.lower(), status.phrase, f"{status.phrase}."
    )
    return problem_response(request.scope, problem, headers=headers)


async def _unexpected(request: Request, error: Exception) -> Response:
    return unexpected_response(request.scope, error)


def _field_error(fault: Mapping[str, Any]) -> FieldError:
    """Describe a fault without the input."""
    code = fault["type"]
    message = _MESSAGES.get(code) or fault["msg"].removeprefix("Value error, ")
    return FieldError(_path(fault["loc"]), message, code)


def _path(location: Iterable[object]) -> str:
    """Return a location, bounded: the name of an unknown field is the client's text."""
    return ".".join(str(part)[:100] for part in location)[:300]


def _methods(request: Request) -> list[str]:
    """Return all methods of a path; the framework only knows those of the first matching route."""
    matching = _routes_of(request)
    routes = list(filter(_is_concrete, matching)) or matching
    methods = {method for route in routes for method in route.methods or ()}
    if "GET" in methods:
        methods.add("HEAD")
    return sorted(methods)


def _routes_of(request: Request) -> list[RouteContext]:
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    return [
        route
        for route in iter_route_contexts(request.app.routes)
        if route.methods and route.path_regex.match(path)
    ]


def _is_concrete(route: RouteContext) -> bool:
    """Return whether a path has no parameters: it precedes others that match (OpenAPI, Paths)."""
    return "{" not in (route.path or "")
