"""The OpenAPI document of FastAPI, with the errors of each operation as problems."""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts

from app.core.errors import DomainError, InvalidInput, UnsupportedContent
from app.infrastructure.http.problems import (
    INTERNAL,
    MALFORMED,
    MEDIA_TYPE,
    TOO_LARGE,
    Problem,
    document,
    problem_type,
)

DOCS_PATH = "/docs"
REDOC_PATH = "/redoc"
OPENAPI_PATH = "/openapi.json"
GUIDE = """\
Errors are [problem details](https://www.rfc-editor.org/rfc/rfc9457): branch on their `code`, and
quote the `request_id` in reports. Lists are pages: pass `next_cursor` as `cursor`. Send an `ETag`
as [`If-Match`](https://www.rfc-editor.org/rfc/rfc9110#name-if-match) to prevent lost updates, and
retry a `POST` with the same
[`Idempotency-Key`](https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/).
"""

_SCHEMAS = "#/components/schemas/{model}"
_DEFAULT_DESCRIPTION = "Successful Response"


def operation_id(route: APIRoute) -> str:
    """Name an operation after its function, as a client names its method."""
    return route.name


class DocumentedApi(FastAPI):
    """A FastAPI that documents all errors of all operations (rule API11).

    Operations and dependencies declare theirs; others follow from the parameters and the body.

    Args:
        attainable_scopes: For each security scheme with limited credentials, the scopes that they
            can have. Operations that need others do not offer the scheme.
        options: Options of FastAPI.
    """

    def __init__(
        self, *, attainable_scopes: Mapping[str, AbstractSet[str]] | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        self._attainable_scopes = attainable_scopes or {}

    def openapi(self) -> dict[str, Any]:
        """Return the document, rebuilt when routes are added."""
        cached = self.openapi_schema
        schema = super().openapi()
        if schema is not cached:
            self._complete(schema)
        return schema

    def _complete(self, schema: dict[str, Any]) -> None:
        schemas = schema.setdefault("components", {}).setdefault("schemas", {})
        operations = []
        for route in iter_route_contexts(self.routes):
            if isinstance(route.original_route, APIRoute) and route.include_in_schema:
                for method in route.methods or ():
                    operation = schema["paths"][route.path_format][method.lower()]
                    self._complete_operation(operation, route)
                    operations.append(operation)
        schemas.pop("HTTPValidationError", None)
        schemas.pop("ValidationError", None)
        problem = Problem.model_json_schema(ref_template=_SCHEMAS, mode="serialization")
        schemas |= {**problem.pop("$defs"), Problem.__name__: problem}
        _describe_successes(operations, schemas)
        schema["components"]["responses"] = _shared_problems(operations)

    def _complete_operation(self, operation: dict[str, Any], route: RouteContext) -> None:
        responses = operation["responses"]
        if responses.get("422", {}).get("content", {}).pop("application/json", None):
            document(responses, problem_type(InvalidInput), key="422")
        for problem in map(problem_type, _raised(route.dependant)):
            document(responses, problem, key=str(problem.status))
        if "requestBody" in operation:
            for problem in (MALFORMED, TOO_LARGE, problem_type(UnsupportedContent)):
                document(responses, problem, key=str(problem.status))
        document(responses, INTERNAL, key=str(INTERNAL.status))
        operation["responses"] = dict(sorted(responses.items()))
        if "security" in operation:
            operation["security"] = list(filter(self._is_attainable, operation["security"]))

    def _is_attainable(self, requirement: dict[str, list[str]]) -> bool:
        attainable = self._attainable_scopes
        return all(
            set(scopes) <= attainable.get(scheme, set(scopes))
            for scheme, scopes in requirement.items()
        )


def _raised(dependant: Dependant) -> Iterator[type[DomainError]]:
    yield from getattr(dependant.call, "problems", ())
    for dependency in dependant.dependencies:
        yield from _raised(dependency)


def _describe_successes(operations: list[dict[str, Any]], schemas: dict[str, Any]) -> None:
    """Describe successful responses by their models."""
    for operation in operations:
        for response in operation["responses"].values():
            if response.get("description") == _DEFAULT_DESCRIPTION:
                media_type = response.get("content", {}).get("application/json", {})
                model = media_type.get("schema", {}).get("$ref", "").rpartition("/")[2]
                no_content = {"description": "No content."}
                words = schemas.get(model, no_content).get("description", _DEFAULT_DESCRIPTION)
                response["description"] = words


def _shared_problems(operations: list[dict[str, Any]]) -> dict[str, Any]:
    """Move problems to the components, as most operations share them."""
    shared: dict[str, Any] = {}
    for operation in operations:
        for status, response in operation["responses"].items():
            problem = response.get("content", {}).get(MEDIA_TYPE)
            if problem is not None:
                name = "-".join(problem["examples"])
                if shared.setdefault(name, response) == response:
                    operation["responses"][status] = {"$ref": f"#/components/responses/{name}"}
    return shared
