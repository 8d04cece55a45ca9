"""Rules of the application that its source shows."""

import ast
import importlib
import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Any, get_type_hints

import pytest
from sqlalchemy.orm import registry

from app.config import Settings
from app.resources import Resources
from tests.contract.audit.source import Module, assert_none, keyword, modules

pytestmark = pytest.mark.untraced

ENTRY_POINTS = ("app.asgi", "app.gunicorn_config", "app.cli")
"""What servers and shells import to run it: making the application is their work."""

CLOSES = ("aclose", "close", "dispose", "disconnect", "shutdown", "cache_clear")
"""Whoever has one of these methods holds something that must be let go of, or remembers."""

CONTAINERS = frozenset({"dict", "list", "set", "deque", "OrderedDict", "WeakValueDictionary"})


def test_app01_starts_and_stops_in_one_lifespan() -> None:
    """APP01: start-up and shutdown live in one `lifespan` context manager; no `on_event`."""
    assert_none(fault for module in modules() for fault in _other_hooks(module))
    assert_none(
        module.at(call, "this is a second lifespan: open what it opens in app.resources")
        for module in modules("app", but=("app.main", *ENTRY_POINTS))
        for call, _ in module.calls()
        if keyword(call, "lifespan") is not None
    )
    (main,) = modules("app.main")
    lifespans = [f for f in main.functions() if f.name == "lifespan"]
    assert [[ast.unparse(d) for d in f.decorator_list] for f in lifespans] == [
        ["asynccontextmanager"]
    ]


def test_app03_reads_the_environment_in_the_settings_alone() -> None:
    """APP03: all configuration is one `pydantic-settings` tree; no `os.environ` outside it."""
    outside = modules(but=("app.core.config",))
    assert_none(fault for module in outside for fault in _environment(module))
    trees = [
        f"{module.name}.{each.name}"
        for module in modules()
        for each in module.classes()
        if any(module.origin(b).endswith((".BaseSettings", ".ServiceSettings")) for b in each.bases)
    ]
    assert trees == ["app.config.Settings", "app.core.config.base.ServiceSettings"]
    assert Settings.model_config["env_prefix"] == "APP_"
    assert Settings.model_config["env_nested_delimiter"] == "__"


def test_app10_keeps_no_resource_in_module_state() -> None:
    """APP10: no connection, client, session or cache in module state."""
    imported = [importlib.import_module(module.name) for module in modules(but=ENTRY_POINTS)]
    assert_none(fault for module in imported for fault in _kept(module))
    assert_none(fault for module in modules() for fault in _filled_later(module))


def _other_hooks(module: Module) -> Iterator[str]:
    for node in module.nodes:
        name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "arg", None)
        if name in {"on_event", "add_event_handler", "on_startup", "on_shutdown"}:
            yield module.at(node, f"instead of `{name}`, open and close it in app.resources")


def _environment(module: Module) -> Iterator[str]:
    what = "make it a setting in app.core.config, and take it from the settings"
    for node in module.nodes:
        if isinstance(node, ast.Attribute | ast.Name):
            origin = module.origin(node)
            if origin.startswith("dotenv") or origin in {"os.environ", "os.getenv", "os.environb"}:
                yield module.at(node, what)


def _kept(module: ModuleType) -> Iterator[str]:
    for owner in (module, *_classes(module)):
        for name, value in vars(owner).items():
            is_imported = getattr(value, "__module__", None) != module.__name__
            if name.startswith("__") or (hasattr(value, "__wrapped__") and is_imported):
                continue
            if why := _holds(value):
                place = f"{module.__name__}: {name}"
                yield f"{place} {why}: open it in app.resources, and reach it by dependency"


def _classes(module: ModuleType) -> list[type]:
    found = [value for value in vars(module).values() if inspect.isclass(value)]
    return [each for each in found if each.__module__ == module.__name__]


def _holds(value: Any) -> str | None:
    """What a value keeps that belongs to the lifespan, if it does."""
    if inspect.isclass(value) or inspect.ismodule(value) or isinstance(value, registry):
        return None
    if type(value) in get_type_hints(Resources).values():
        return f"is a {type(value).__name__}"
    method = next((name for name in CLOSES if hasattr(type(value), name)), None)
    return f"has `{method}`" if method else None


def _filled_later(module: Module) -> Iterator[str]:
    what = "what is kept between requests belongs to app.resources"
    for statement in module.tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and _is_empty(statement.value):
            yield module.at(statement, f"this begins empty, and is filled later: {what}")
    for node in module.nodes:
        if isinstance(node, ast.Global):
            yield module.at(node, f"`global` changes module state: {what}")


def _is_empty(value: ast.expr | None) -> bool:
    match value:
        case ast.List(elts=[]) | ast.Dict(keys=[]):
            return True
        case ast.Call(func=function, args=[], keywords=[]):
            return ast.unparse(function).rpartition(".")[2] in CONTAINERS
        case ast.Call(func=function):
            return ast.unparse(function).rpartition(".")[2] == "defaultdict"
        case _:
            return False
