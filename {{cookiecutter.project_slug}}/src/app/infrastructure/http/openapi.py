"""The OpenAPI document: FastAPI's, with errors as they really are."""

from collections.abc import Iterable, Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts

from app.api.deps.auth import api_key
from app.core.errors import DomainError, InvalidInput, UnsupportedContent
from app.domain.permissions import DELEGABLE
from app.infrastructure.http.problem_schema import Problem, problem_schemas
from app.infrastructure.http.problems import (
    INTERNAL,
    MALFORMED,
    TOO_LARGE,
    document,
    kind_of,
    status_of,
)

DOCS_PATH = "/docs"
REDOC_PATH = "/redoc"
OPENAPI_PATH = "/openapi.json"

_SUCCESS = "Successful Response"  # what FastAPI says of every success
_NOTHING = {"description": "Done; there is nothing more to say."}


def operation_id(route: APIRoute) -> str:
    """The name of a route's function: unique, stable, and fit for a client's method."""
    return route.name


class DocumentedApi(FastAPI):
    """A FastAPI whose document has every error of every operation as a problem (rule API11).

    To what an operation names itself comes what its dependencies say they raise, and what goes
    with its request: a body can be malformed, too large or of another type, parameters can be
    invalid.
    """

    def openapi(self) -> dict[str, Any]:
        """The document; it is made once, and again if routes are added."""
        known = self.openapi_schema
        schema = super().openapi()
        if schema is not known:
            _complete(schema, iter_route_contexts(self.routes))
        return schema


def _complete(schema: dict[str, Any], routes: Iterable[RouteContext]) -> None:
    schemas = schema.setdefault("components", {}).setdefault("schemas", {})
    for route in routes:
        if not isinstance(route.original_route, APIRoute) or not route.include_in_schema:
            continue
        path = schema["paths"][route.path_format]
        for method in route.methods or ():
            _complete_operation(path[method.lower()], route)
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    schemas.update(problem_schemas("#/components/schemas/{model}"))
    operations = [operation for path in schema["paths"].values() for operation in path.values()]
    _describe_successes(operations, schemas)
    schema["components"]["responses"] = _shared_problems(operations)


def _complete_operation(operation: dict[str, Any], route: RouteContext) -> None:
    responses = operation["responses"]
    generated = responses.get("422", {}).get("content", {}).pop("application/json", None)
    if generated:
        document(responses, kind_of(InvalidInput), key="422")
    for error in _raised(route.dependant):
        document(responses, kind_of(error), key=str(status_of(error)))
    if "requestBody" in operation:
        document(responses, MALFORMED, key="400")
        document(responses, TOO_LARGE, key="413")
        document(responses, kind_of(UnsupportedContent), key="415")
    document(responses, INTERNAL, key="500")
    operation["responses"] = dict(sorted(responses.items()))
    if "security" in operation:
        operation["security"] = [each for each in operation["security"] if _can_be_met(each)]


def _can_be_met(requirement: dict[str, list[str]]) -> bool:
    """Whether some client can have what is asked for: an API key never holds all permissions."""
    return DELEGABLE.issuperset(requirement.get(api_key.scheme_name, ()))


def _describe_successes(operations: list[dict[str, Any]], schemas: dict[str, Any]) -> None:
    """Say what comes back where FastAPI says that something does: in the words of its model."""
    for operation in operations:
        for response in operation["responses"].values():
            if response.get("description") == _SUCCESS:
                media_type = response.get("content", {}).get("application/json", {})
                model = media_type.get("schema", {}).get("$ref", "").rpartition("/")[2]
                words = schemas.get(model, _NOTHING).get("description", _SUCCESS)
                response["description"] = words


def _shared_problems(operations: list[dict[str, Any]]) -> dict[str, Any]:
    """Let each response with problems stand once: most operations fail in the same few ways."""
    shared: dict[str, Any] = {}
    for operation in operations:
        for status, response in operation["responses"].items():
            problem = response.get("content", {}).get(Problem.MEDIA_TYPE)
            if problem is not None:
                name = "-".join(problem["examples"])
                if shared.setdefault(name, response) == response:
                    operation["responses"][status] = {"$ref": f"#/components/responses/{name}"}
    return shared


def _raised(dependant: Dependant) -> Iterator[type[DomainError]]:
    yield from getattr(dependant.call, "problems", ())
    for dependency in dependant.dependencies:
        yield from _raised(dependency)
