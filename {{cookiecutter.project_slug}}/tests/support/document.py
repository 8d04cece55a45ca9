"""The operations of the OpenAPI document, and requests from their examples."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from openapi_schema_validator import OAS31Validator, oas31_format_checker

from app.config import Settings
from app.main import create_app
from app.models import Base

Json = dict[str, Any]

APP: Final = create_app(Settings(environment="test"))
DOCUMENT: Final[Json] = APP.openapi()
PROBLEM: Final = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation, with all references to shared responses followed.

    Attributes:
        method: In lower case.
        path: With its parameters in braces.
        definition: Its Operation Object.
    """

    method: str
    path: str
    definition: Json

    def __str__(self) -> str:
        return self.id

    @property
    def id(self) -> str:
        operation_id: str = self.definition["operationId"]
        return operation_id

    @property
    def parameters(self) -> list[Json]:
        return list(self.definition.get("parameters", ()))

    @property
    def body(self) -> tuple[str, Json] | None:
        """The media type and the schema of the body, if it takes one."""
        content = self.definition.get("requestBody", {}).get("content", {})
        return next(((kind, resolved(each["schema"])) for kind, each in content.items()), None)

    @property
    def responses(self) -> dict[int, Json]:
        return {int(code): resolved(each) for code, each in self.definition["responses"].items()}

    @property
    def success(self) -> int:
        """The first status that it documents."""
        return min(self.responses)

    @property
    def scopes(self) -> frozenset[str]:
        """The permissions that it requires, the same for each scheme."""
        return frozenset(
            scope
            for requirement in self.definition.get("security", ())
            for scopes in requirement.values()
            for scope in scopes
        )

    @property
    def schemes(self) -> list[str]:
        """The names of the alternative security schemes."""
        return [name for requirement in self.definition.get("security", ()) for name in requirement]

    def request(self, **ids: str) -> Json:
        """Return arguments for a client: the request of the examples in the document.

        Args:
            **ids: Other values for parameters of the path and fields of the body.
        """
        values = {
            each["name"]: ids.get(each["name"], example_of(each["schema"]))
            for each in self.parameters
            if each["in"] == "path"
        }
        arguments: Json = {"method": self.method.upper(), "url": self.path.format(**values)}
        if self.body is not None:
            media_type, schema = self.body
            example = with_ids(example_of(schema), ids)
            if media_type == "application/json":
                arguments["json"] = example
            elif media_type == "multipart/form-data":
                arguments["files"] = {
                    name: ("note.txt", value.encode(), "text/plain")
                    for name, value in example.items()
                }
            else:
                arguments["data"] = {
                    name: value for name, value in example.items() if value is not None
                }
        return arguments

    def faults(self, status: int, media_type: str, body: object) -> list[str]:
        """Return the violations of the document by the body of a response."""
        schema = self.responses[status]["content"][media_type]["schema"]
        return faults(schema, body)


def resolved(thing: Json) -> Json:
    """Return the target of a Reference Object, or the object itself."""
    if "$ref" not in thing:
        return thing
    found: Json = DOCUMENT
    for key in thing["$ref"].removeprefix("#/").split("/"):
        found = found[key]
    return found


def example_of(schema: Json) -> Any:
    """Return the example of a schema, or compose it from those of its parts."""
    if "examples" not in schema:
        schema = resolved(schema)
    if "examples" in schema:
        return schema["examples"][0]
    if "anyOf" in schema:
        return example_of(schema["anyOf"][0])
    if schema.get("type") == "array":
        return [example_of(schema["items"])]
    return {name: example_of(each) for name, each in schema.get("properties", {}).items()}


def with_ids(example: Any, ids: Mapping[str, str]) -> Any:
    """Return the example with these ids in the fields of that name, at any depth."""
    if isinstance(example, list):
        return [with_ids(each, ids) for each in example]
    if isinstance(example, dict):
        return {name: ids.get(name) or with_ids(each, ids) for name, each in example.items()}
    return example


def ids_in(path: str, rows: Mapping[str, Json]) -> dict[str, str]:
    """Return the ids of the rows that a path is about: `/things/{thing_id}` of the table `things`.

    Args:
        path: With its parameters in braces.
        rows: By table.
    """
    return {
        parameter[1:-1]: str(row["id"])
        for collection, parameter in pairwise(path.split("/"))
        if parameter.startswith("{")
        for table, row in sorted(rows.items(), key=lambda each: len(each[0]), reverse=True)
        if table.endswith(collection.replace("-", "_"))
    }


def referred(path: str, rows: Mapping[str, Json]) -> dict[str, str]:
    """Return the ids that rows can refer to, by the columns of the foreign keys.

    Args:
        path: Of two tables with a column of the same name, that of the path counts.
        rows: By table.
    """
    tables = sorted(
        Base.metadata.sorted_tables, key=lambda table: table.name.replace("_", "-") in path
    )
    return {
        key.parent.name: str(rows[key.column.table.name]["id"])
        for table in tables
        for key in table.foreign_keys
    }


def faults(schema: Json, value: object) -> list[str]:
    """Return the violations of a schema by a value."""
    validator = OAS31Validator(
        {**schema, "components": DOCUMENT["components"]}, format_checker=oas31_format_checker
    )
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def walk(thing: object, path: str = "#") -> Iterator[tuple[str, Json]]:
    """Yield every JSON object in the document, or in a part of it, with its path."""
    if isinstance(thing, Mapping):
        yield path, dict(thing)
        for key, value in thing.items():
            yield from walk(value, f"{path}/{key}")
    elif isinstance(thing, list):
        for index, value in enumerate(thing):
            yield from walk(value, f"{path}/{index}")


OPERATIONS: Final = tuple(
    Operation(method, path, definition)
    for path, operations in DOCUMENT["paths"].items()
    for method, definition in operations.items()
)
SCHEMAS: Final[dict[str, Json]] = DOCUMENT["components"]["schemas"]


def documenting(status: int) -> list[Operation]:
    """Return the operations that document a status."""
    return [operation for operation in OPERATIONS if status in operation.responses]
