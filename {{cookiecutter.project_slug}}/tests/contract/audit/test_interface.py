"""Rules of the HTTP interface and of its schemas that the source shows."""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from typing import get_type_hints

import pytest
from fastapi.routing import RouteContext
from pydantic import BaseModel

from app.api.deps.database import get_session
from app.infrastructure.http import schemas as base
from tests.contract.audit.source import (
    Function,
    Module,
    assert_none,
    keyword,
    modules,
    needed,
    operations,
    syntax_of,
    title,
)

pytestmark = pytest.mark.untraced

METHODS = frozenset({"get", "post", "put", "patch", "delete", "head", "options"})
SHARED = frozenset({"id", "created_at", "updated_at"})
CLOSED_SET = re.compile(r"\^?\(?(\?:)?[\w-]+(\|[\w-]+)+\)?\$?")
OLD_COERCIONS = frozenset({"parse_obj_as", "parse_obj", "parse_raw", "validate_arguments"})


def test_api01_changes_nothing_by_get() -> None:
    """API01: methods mean what HTTP says; a GET changes nothing."""
    reads = [operation for operation in operations() if "GET" in (operation.methods or ())]
    assert_none(
        f"{title(operation)} depends on a session for writing: read by a `…QueriesDep`"
        for operation in reads
        if get_session in {each.call for each in needed(operation.dependant)}
    )
    assert_none(fault for operation in reads for fault in _writes(operation))
    assert_none(
        f"{title(operation)} takes a body: make its fields query parameters"
        for operation in reads
        if operation.body_field is not None
    )


def test_api02_states_the_status_of_every_operation() -> None:
    """API02: every operation states its `status_code`, and what goes with it."""
    found = [
        (module, function, decorator)
        for module in modules("app.api")
        for function in module.functions()
        for decorator in function.decorator_list
        if isinstance(decorator, ast.Call) and _is_route(decorator.func)
    ]
    assert len(found) == len(operations())
    assert_none(
        fault
        for module, function, decorator in found
        for fault in _status_faults(module, function, decorator)
    )


def test_sch03_shares_fields_by_one_base() -> None:
    """SCH03: shared fields live in one base; `from_attributes` for what is read from the ORM."""
    assert_none(
        module.at(field, f"inherit `{field.target.id}` from app.infrastructure.http.schemas")
        for module in modules("app.api.schemas", but=(base.__name__,))
        for each in module.classes()
        for field in each.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if field.target.id in SHARED
    )
    assert_none(
        f"{model.__module__}.{model.__name__}: derive it from ResponseModel"
        for model in _models()
        if model.__name__.endswith(("Response", "Page"))
        if model.model_config.get("from_attributes") is not True
    )


def test_sch05_closes_small_sets_by_literal() -> None:
    """SCH05: `Literal` for small closed sets."""
    read = modules("app.api", "app.domain")
    assert_none(
        module.at(each, "write its values as a `Literal`")
        for module in read
        for each in module.classes()
        if any(re.search(r"\b\w*Enum$|\bFlag$", module.origin(base)) for base in each.bases)
    )
    assert_none(
        module.at(call, f"{pattern!r} is a closed set: write it as a `Literal`")
        for module in read
        for call, _ in module.calls()
        if isinstance(pattern := getattr(keyword(call, "pattern"), "value", None), str)
        if CLOSED_SET.fullmatch(pattern)
    )


def test_sch06_judges_several_fields_by_model_validators() -> None:
    """SCH06: a rule over several fields is a `model_validator`; bare types by `TypeAdapter`."""
    read = modules("app.api", "app.core.config", "app.services", "app.domain")
    assert_none(fault for module in read for fault in _field_validators(module))
    assert_none(
        module.at(call, "coerce by `TypeAdapter(T).validate_python(...)`")
        for module in read
        for call, origin in module.calls()
        if origin.rpartition(".")[2] in OLD_COERCIONS
    )
    assert_none(
        module.at(each, "validate by a `TypeAdapter` of the bare type")
        for module in read
        for each in module.classes()
        if any(module.origin(base).endswith(".RootModel") for base in each.bases)
    )


def _is_route(called: ast.expr) -> bool:
    return (
        isinstance(called, ast.Attribute)
        and called.attr in METHODS
        and ast.unparse(called.value) in {"router", "app"}
    )


def _status_faults(module: Module, function: Function, decorator: ast.Call) -> Iterator[str]:
    status = getattr(keyword(decorator, "status_code"), "value", None)
    text = ast.unparse(ast.Module(function.body, []))
    if not isinstance(status, int):
        yield module.at(decorator, f"state the `status_code` of {function.name}")
    elif status == 201 and "response.headers['Location'] =" not in text:
        yield module.at(decorator, f"{function.name} creates something: say where, by `Location`")
    elif status == 204 and ast.unparse(function.returns or ast.Name("")) != "None":
        yield module.at(decorator, f"{function.name} answers 204, so it returns None")


def _writes(operation: RouteContext) -> Iterator[str]:
    """The methods of services which an operation calls, and which open a transaction."""
    endpoint = operation.endpoint
    assert endpoint is not None
    hints = get_type_hints(endpoint)
    for node in ast.walk(syntax_of(endpoint)):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)):
                function = getattr(hints.get(name), method, None)
                if inspect.isfunction(function) and "transaction(" in inspect.getsource(function):
                    yield f"{title(operation)} calls {function.__qualname__}, which writes"
            case _:
                continue


def _models() -> list[type[BaseModel]]:
    return [
        value
        for module in modules("app.api.schemas")
        for value in vars(importlib.import_module(module.name)).values()
        if inspect.isclass(value) and issubclass(value, BaseModel)
        if value.__module__ == module.name
    ]


def _field_validators(module: Module) -> Iterator[str]:
    what = "this rule is over several fields: make it a `model_validator`"
    for function in module.functions():
        for decorator in function.decorator_list:
            if not module.origin(decorator).endswith("pydantic.field_validator"):
                continue
            if any(isinstance(n, ast.Attribute) and n.attr == "data" for n in ast.walk(function)):
                yield module.at(function, what)
    for _, origin in module.calls():
        if origin in {"pydantic.root_validator", "pydantic.validator"}:
            yield module.at(module.tree, f"{origin} is of Pydantic 1")
