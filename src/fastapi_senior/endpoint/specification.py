"""Specifications of operations: method and path, and what requests and responses have."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from fastapi_senior.errors import Refused
from fastapi_senior.resource.specification import TYPES

METHODS: Final = ("GET", "POST", "PUT", "PATCH")

_PATH = re.compile(
    r"(?:/api/v1)?/(?P<resource>[a-z]+(?:-[a-z]+)*)(?:/\{(?P<parameter>[a-z_]+)\})?"
    r"/(?P<segment>[a-z]+(?:-[a-z]+)*)"
)
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_FUNCTION = re.compile(r"[a-z]+(_[a-z]+)+")
_MODEL = re.compile(r"[A-Z][A-Za-z0-9]*")
_LONGEST_SUMMARY = 50


@dataclass(frozen=True, slots=True)
class Given:
    """A field of a request or response.

    Attributes:
        type: Its type, if that was stated.
        optional: Whether requests may leave it out.
    """

    name: str
    type: str | None = None
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An operation to add.

    Attributes:
        resource: Name of the resource in the path.
        parameter: Parameter of the path that names a row; `None` for the collection.
        segment: Last segment of the path.
        model: Name of an existing response model, instead of `output`.
        name: Name of the function; `None` for a derived one.
    """

    method: str
    resource: str
    parameter: str | None
    segment: str
    input: tuple[Given, ...] = ()
    output: tuple[Given, ...] = ()
    model: str | None = None
    tests: bool = True
    name: str | None = None
    summary: str | None = None

    @property
    def path(self) -> str:
        """Return the path below that of the resource."""
        return f"/{{{self.parameter}}}/{self.segment}" if self.parameter else f"/{self.segment}"

    @property
    def title(self) -> str:
        """Return method and path."""
        return f"{self.method} /{self.resource}{self.path}"


def parse(
    operation: str,
    input_: Sequence[str] = (),
    output: Sequence[str] = (),
    *,
    auth: bool = True,
    database: bool = True,
    tests: bool = True,
    name: str | None = None,
    summary: str | None = None,
) -> Endpoint:
    """Return an operation from its short form.

    Args:
        operation: Method and path, such as `POST /invoices/{invoice_id}/send`.
        input_: Fields of the request: `NAME[:TYPE][:optional]`.
        output: Fields of the response, or the name of a response model.
        auth: Whether it requires a permission.
        database: Whether it reads or writes rows.
        tests: Whether to write tests.
        name: Name of the function, if not the derived one.
        summary: Summary, if not the derived one.

    Raises:
        Refused: It can't be read, or says what can't be.
    """
    method, match = _split(operation)
    if match["parameter"] is None and method != "POST":
        raise Refused(
            f"`{operation}`: {method} needs a row, as in `/{match['resource']}/{{…_id}}/"
            f"{match['segment']}`; on the collection, only POST adds to what there is."
        )
    if method == "GET" and input_:
        raise Refused(f"`{operation}`: GET has no body. Use POST, or leave out `--input`.")
    if method != "GET" and not input_ and (method != "POST" or match["parameter"] is None):
        raise Refused(f"`{operation}`: {method} needs fields to write. Pass `--input`.")
    _require_resource(operation, auth=auth, database=database)
    if name is not None and not _FUNCTION.fullmatch(name):
        raise Refused(f"`{name}` is no name of an operation. Use words, such as `send_invoice`.")
    if summary is not None and not 0 < len(summary) <= _LONGEST_SUMMARY:
        raise Refused(f"A summary has 1 to {_LONGEST_SUMMARY} characters.")
    model = output[0] if len(output) == 1 and _MODEL.fullmatch(output[0]) else None
    return Endpoint(
        method,
        match["resource"],
        match["parameter"],
        match["segment"],
        _fields(input_),
        () if model else _fields(output),
        model,
        tests=tests,
        name=name,
        summary=summary,
    )


def _split(operation: str) -> tuple[str, re.Match[str]]:
    """Return method and path."""
    method, _, path = operation.strip().partition(" ")
    method = method.upper()
    if method == "DELETE":
        raise Refused(
            f"`{operation}`: DELETE removes a row, and resources have that operation. "
            "To clear an optional field, use PUT or PATCH."
        )
    if method not in METHODS:
        raise Refused(f"`{operation}`: `{method}` is none of {', '.join(METHODS)}.")
    match = _PATH.fullmatch(path.strip())
    if match is None:
        raise Refused(
            f"`{operation}`: the path is that of a resource, or of one of its rows, and a word: "
            "`POST /invoices/{invoice_id}/send` or `POST /invoices/import`."
        )
    return method, match


def _require_resource(operation: str, *, auth: bool, database: bool) -> None:
    if not auth:
        raise Refused(
            f"`{operation}`: rows belong to accounts, so that their operations require "
            "authentication. Pass `--requires-auth`."
        )
    if not database:
        raise Refused(
            f"`{operation}`: operations of a resource read or write its rows. "
            "Pass `--requires-database`."
        )


def read(file: Path) -> Endpoint:
    """Return an operation from a YAML file with the options as keys.

    Raises:
        Refused: It is no such file.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise Refused(f"{file} can't be read: {error.strerror}.") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise Refused(f"{file} is no YAML: {error}.") from error
    kinds: Mapping[str, Any] = {
        "method": str, "path": str, "input": list, "output": list, "requires_auth": bool,
        "requires_database": bool, "requires_tests": bool, "name": str, "summary": str,
    }  # fmt: skip
    if not isinstance(content, dict) or not {"method", "path"} <= content.keys() <= kinds.keys():
        raise Refused(f"{file} needs `method` and `path`, and may have {', '.join(kinds)}.")
    if isinstance(content.get("output"), str):
        content["output"] = [content["output"]]
    for key, value in content.items():
        texts = value if isinstance(value, list) else []
        if not isinstance(value, kinds[key]) or not all(isinstance(each, str) for each in texts):
            raise Refused(f"{file}: `{key}` is {_described(kinds[key])}.")
    return parse(
        f"{content['method']} {content['path']}",
        content.get("input", ()),
        content.get("output", ()),
        auth=content.get("requires_auth", True),
        database=content.get("requires_database", True),
        tests=content.get("requires_tests", True),
        name=content.get("name"),
        summary=content.get("summary"),
    )


def _described(kind: type) -> str:
    return {str: "a text", bool: "true or false"}.get(kind, "a list of texts")


def _fields(texts: Sequence[str]) -> tuple[Given, ...]:
    found: list[Given] = []
    for text in texts:
        name, *parts = text.split(":")
        if not _NAME.fullmatch(name):
            raise Refused(
                f"`{text}`: `{name}` is no name. Use lower-case words, such as `due_date`."
            )
        if name in {each.name for each in found}:
            raise Refused(f"There are two fields `{name}`. Leave one out.")
        optional = parts[-1:] == ["optional"]
        kinds = parts[:-1] if optional else parts
        if len(kinds) > 1 or not set(kinds) <= set(TYPES):
            raise Refused(
                f"`{text}`: write `NAME[:TYPE][:optional]`. The types are {', '.join(TYPES)}; "
                "that of a field of the resource may be left out."
            )
        found.append(Given(name, kinds[0] if kinds else None, optional))
    return tuple(found)
