"""Syntax trees of the source, and the operations and dependencies that FastAPI makes of it."""

import ast
import gc
import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts

import app
from app.config import Settings
from app.main import create_app

APP = Path(app.__file__).parent
TESTS = Path(__file__).parents[2]
RUN_ONLY = ("app.asgi", "app.gunicorn_config")
"""Modules that make an application or a server when they are imported."""


@dataclass(frozen=True)
class Module:
    """A module: its dotted name, its path and its syntax tree."""

    name: str
    path: Path
    tree: ast.Module

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        return tuple(ast.walk(self.tree))

    @cached_property
    def names(self) -> dict[str, Any]:
        """The values of its names, and of those that its functions import."""
        found: dict[str, Any] = {}
        for node in self.nodes:
            if isinstance(node, ast.Import):
                for each in node.names:
                    root = importlib.import_module(each.name.partition(".")[0])
                    found[each.asname or root.__name__] = root
            elif isinstance(node, ast.ImportFrom):
                source = importlib.import_module(str(node.module))
                found |= {n.asname or n.name: getattr(source, n.name, None) for n in node.names}
        own = {} if self.name in RUN_ONLY else vars(importlib.import_module(self.name))
        return found | own

    def resolve(self, node: ast.AST) -> Any:
        """Return the object behind a name, through aliases and other modules; None for a local."""
        match node:
            case ast.Name(id=name):
                return self.names.get(name)
            case ast.Attribute(value=value, attr=name):
                return getattr(self.resolve(value), name, None)
            case _:
                return None

    def calls(self, within: ast.AST | None = None) -> Iterator[tuple[ast.Call, Any]]:
        """Yield every call and the object that it calls."""
        for node in self.nodes if within is None else ast.walk(within):
            if isinstance(node, ast.Call):
                yield node, self.resolve(node.func)

    def at(self, node: ast.AST, advice: str) -> str:
        """Return a fault with its place: `src/app/api/v1/users.py:12: …`."""
        return f"{self.path.relative_to(TESTS.parent)}:{getattr(node, 'lineno', 1)}: {advice}"


@cache
def _modules(root: Path) -> tuple[Module, ...]:
    gc.disable()  # the parser of CPython 3.11 takes collected garbage for recursion
    found = []
    for path in sorted(root.rglob("*.py")):
        name = ".".join(path.relative_to(root.parent).with_suffix("").parts)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found.append(Module(name.removesuffix(".__init__"), path, tree))
    gc.enable()
    return tuple(found)


def modules(*packages: str) -> list[Module]:
    """Return the modules of these packages, by default of `app`; of tests, but their support."""
    within = tuple(f"{name}." for name in packages or ("app",))
    found = (*_modules(APP), *_modules(TESTS))
    return [
        each
        for each in found
        if f"{each.name}.".startswith(within) and not each.name.startswith("tests.support")
    ]


def calls(*packages: str) -> Iterator[tuple[Module, ast.Call, Any]]:
    """Yield every call in these packages and the object that it calls."""
    return ((each, call, called) for each in modules(*packages) for call, called in each.calls())


def nodes(kind: Any, *packages: str) -> Iterator[tuple[Module, Any]]:
    """Yield every node of a kind in these packages."""
    return ((m, node) for m in modules(*packages) for node in m.nodes if isinstance(node, kind))


def library(value: Any) -> str:
    """Return the name of the library that an object comes from."""
    return str(getattr(value, "__module__", None)).partition(".")[0]


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    """Return the value of a keyword argument."""
    return next((given.value for given in call.keywords if given.arg == name), None)


def assert_none(*faults: Iterable[str]) -> None:
    """Fail with every fault, one per line."""
    found = sorted(set().union(*faults))
    assert not found, "\n".join(("", *found))


@cache
def operations() -> tuple[RouteContext, ...]:
    """Return every documented operation."""
    routes = iter_route_contexts(create_app(Settings(environment="test")).routes)
    return tuple(
        r for r in routes if isinstance(r.original_route, APIRoute) and r.include_in_schema
    )


def title(operation: RouteContext) -> str:
    """Return the method and path of an operation: `GET /api/v1/users`."""
    return f"{' '.join(sorted(operation.methods or ()))} {operation.path_format}"


def needed(dependant: Dependant) -> Iterator[Dependant]:
    """Yield all dependencies, at any depth."""
    for dependency in dependant.dependencies:
        yield dependency
        yield from needed(dependency)


def source_of(dependant: Dependant) -> Callable[..., Any]:
    """Return the function behind a dependency, without decorators."""
    assert dependant.call is not None
    function: Callable[..., Any] = inspect.unwrap(dependant.call)
    return function


def is_ours(dependant: Dependant) -> bool:
    """Return whether a dependency is a function of this project."""
    source = source_of(dependant)
    return inspect.isfunction(source) and library(source) == "app"
