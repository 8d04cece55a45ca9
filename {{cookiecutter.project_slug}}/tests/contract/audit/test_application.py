"""Rules checked on the running application and its operations."""

import ast
import importlib
import inspect
from collections import Counter
from collections.abc import Iterator
from types import ModuleType
from typing import Any, get_type_hints

from fastapi.dependencies.models import Dependant
from pydantic import BaseModel
from sqlalchemy.orm import registry
from starlette.middleware import Middleware

from app.api.deps.auth import get_principal
from app.config import Settings
from app.core.config import HttpSettings
from app.domain.permissions import PERMISSIONS, ROLES
from app.infrastructure.http.routes import OPEN
from app.main import create_app
from app.resources import Resources
from tests.contract.audit.source import (
    RUN_ONLY,
    Module,
    assert_none,
    calls,
    is_ours,
    keyword,
    library,
    modules,
    needed,
    nodes,
    operations,
    source_of,
    title,
)

DEEPEST = 4
"""Resources, session, service, requirement."""

CLOSES = ("aclose", "close", "dispose", "disconnect", "shutdown", "cache_clear")


def test_app01_starts_and_stops_in_one_lifespan() -> None:
    """APP01: everything is opened and closed by one `lifespan`; there are no hooks."""
    router = create_app(Settings(environment="test")).router
    assert (router.on_startup, router.on_shutdown) == ([], [])
    assert_none(
        module.at(call, "this is a second lifespan: open it in app.resources")
        for module, call, called in calls()
        if library(called) in {"fastapi", "starlette"} and keyword(call, "lifespan")
    )


def test_app10_keeps_no_resource_in_module_state() -> None:
    """APP10: modules hold no connection, client, session or cache."""
    imported = [importlib.import_module(m.name) for m in modules() if m.name not in RUN_ONLY]
    classes = [value for m in imported for value in vars(m).values() if inspect.isclass(value)]
    assert_none(
        f"{getattr(owner, '__name__', '')}.{name} {why}: open it in app.resources"
        for owner in (*imported, *classes)
        if isinstance(owner, ModuleType) or library(owner) == "app"
        for name, value in vars(owner).items()
        if not ((name.startswith("_") and name.endswith("_")) or name == "model_config")
        if (why := _holds(owner, value))
    )


def test_mid01_mounts_plain_asgi_middleware_from_one_list() -> None:
    """MID01: middleware is plain ASGI, in one ordered list."""
    everything = HttpSettings(cors_origins=["https://a.example"], trusted_hosts=["a"])
    layers = create_app(Settings(environment="test", http=everything)).user_middleware
    assert_none(
        (
            f"{layer.cls} has no `async __call__(scope, …)`"
            for layer in layers
            if not _is_plain(layer)
        ),
        (
            module.at(node, "list it in app.infrastructure.http.middleware")
            for module, node in nodes(ast.Attribute)
            if node.attr in {"add_middleware", "middleware_stack"}
        ),
    )


def test_di02_gives_an_alias_to_every_dependency_used_twice() -> None:
    """DI02: a dependency used twice has one alias."""
    found = [(m, node) for m, node in nodes(ast.Subscript, "app.api") if _is_marked(m, node)]
    used = Counter(ast.unparse(node) for _, node in found)
    assert_none(m.at(node, "give it one alias") for m, node in found if used[ast.unparse(node)] > 1)


def test_di04_runs_every_dependency_on_the_event_loop() -> None:
    """DI04: dependencies are `async`: FastAPI sends plain functions through its thread pool."""
    assert_none(
        f"{source_of(dependency).__qualname__} takes a thread: make it `async def`"
        for operation in operations()
        for dependency in filter(is_ours, needed(operation.dependant))
        if not inspect.iscoroutinefunction(dependency.call)
        if not inspect.isasyncgenfunction(dependency.call)
    )


def test_di05_gives_services_to_routes() -> None:
    """DI05: routes take services, not sessions or repositories."""
    layers = ("app.repositories", "app.infrastructure.database", "sqlalchemy")
    assert_none(
        f"{title(operation)} takes a {taken.__name__}: give it a service"
        for operation in operations()
        for taken in get_type_hints(operation.endpoint).values()
        if inspect.isclass(taken) and taken.__module__.startswith(layers)
    )


def test_di06_keeps_chains_of_dependencies_short() -> None:
    """DI06: no chain of dependencies is longer than there are layers."""
    assert_none(
        f"{title(operation)}: {' > '.join(chain)}"
        for operation in operations()
        for chain in _chains(operation.dependant)
        if len(chain) > DEEPEST
    )


def test_api02_states_the_status_of_every_operation() -> None:
    """API02: every operation states its `status_code`."""
    assert_none(
        title(operation)
        for operation in operations()
        if getattr(operation.original_route, "status_code", None) is None
    )


def test_sch03_shares_fields_by_one_base() -> None:
    """SCH03: shared fields come from one base, and responses are read from attributes."""
    shared = {"id", "created_at", "updated_at"}
    values = [value for module in modules("app.api.schemas") for value in module.names.values()]
    for model in (v for v in values if inspect.isclass(v) and issubclass(v, BaseModel)):
        if model.__module__.startswith("app.api.schemas"):
            assert not shared & inspect.get_annotations(model).keys(), model
            if model.__name__.endswith(("Response", "Page")):
                assert model.model_config.get("from_attributes"), model


def test_sec06_requires_permissions_through_scopes() -> None:
    """SEC06: roles hold permissions; routes ask for permissions, unless they say `OPEN`."""
    asked: dict[str, set[str]] = {title(operation): set() for operation in operations()}
    for operation in operations():
        for dependency in needed(operation.dependant):
            if source_of(dependency) is get_principal:
                for scopes in (dependency.parent_oauth_scopes, dependency.own_oauth_scopes):
                    asked[title(operation)].update(scopes or ())
    extras = {
        title(each): getattr(each.original_route, "openapi_extra", None) for each in operations()
    }
    is_open = {each for each in asked if "/api/" in each and not asked[each]}
    assert is_open == {each for each, extra in extras.items() if extra == OPEN}
    assert set().union(*asked.values()) == set(PERMISSIONS) == set().union(*ROLES.values())
    assert_none(
        module.at(node, "ask for a permission: `Security(get_principal, scopes=[…])`")
        for module, node in nodes(ast.Compare | ast.Match, "app.api")
        for part in ast.walk(getattr(node, "subject", node))
        if isinstance(part, ast.Attribute) and part.attr == "role"
    )


def _holds(owner: Any, value: Any) -> str | None:
    """Return how a value keeps state that belongs to the lifespan, if it does."""
    kind = type(value)
    if isinstance(value, type | ModuleType | registry):
        return None
    if hasattr(value, "__wrapped__") and value.__module__ != getattr(owner, "__name__", None):
        return None  # imported
    if kind in get_type_hints(Resources).values():
        return f"is a {kind.__name__}"
    if hasattr(kind, "__len__") and hasattr(kind, "clear") and not value:
        return "is empty, to be filled later"
    return next((f"has `{name}`" for name in CLOSES if hasattr(kind, name)), None)


def _is_plain(layer: Middleware) -> bool:
    call = vars(layer.cls).get("__call__", print)
    return inspect.iscoroutinefunction(call) and [*inspect.signature(call).parameters][1:] == [
        "scope",
        "receive",
        "send",
    ]


def _is_marked(module: Module, node: ast.Subscript) -> bool:
    is_annotated = getattr(module.resolve(node.value), "__name__", "") == "Annotated"
    return is_annotated and any(library(called) == "fastapi" for _, called in module.calls(node))


def _chains(dependant: Dependant) -> Iterator[list[str]]:
    for dependency in filter(is_ours, dependant.dependencies):
        name = source_of(dependency).__name__
        yield from ([name, *chain] for chain in ([], *_chains(dependency)))
