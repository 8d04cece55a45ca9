"""What the audits look at: the source as syntax trees, and the dependencies as FastAPI has them."""

import ast
import gc
import inspect
import textwrap
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

ROOT = Path(app.__file__).parent
TESTS = Path(__file__).parents[2]
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """A module of the service.

    Attributes:
        name: Its dotted name, such as `app.api.v1.items`.
        path: Where it is.
        text: Its source.
        tree: Its syntax tree.
        imports: What its names stand for, as dotted names.
    """

    name: str
    path: Path
    text: str
    tree: ast.Module
    imports: dict[str, str]

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Every node of the tree; every audit wants them."""
        return tuple(ast.walk(self.tree))

    def at(self, node: ast.AST, what_to_do: str) -> str:
        """A violation, as people look for it: where, and what to change."""
        line = getattr(node, "lineno", 1)
        base = TESTS.parent if self.path.is_relative_to(TESTS) else ROOT.parent
        return f"{self.path.relative_to(base)}:{line}: {what_to_do}"

    def origin(self, node: ast.AST) -> str:
        """The dotted name that an expression stands for, imports resolved: `os.environ`."""
        match node:
            case ast.Name(id=name):
                return self.imports.get(name, f"{self.name}.{name}")
            case ast.Attribute(value=value, attr=attribute):
                return f"{self.origin(value)}.{attribute}"
            case ast.Subscript(value=value) | ast.Call(func=value):
                return self.origin(value)
            case _:
                return ""

    def calls(self, within: ast.AST | None = None) -> Iterator[tuple[ast.Call, str]]:
        """Every call, with the dotted name of what is called."""
        for node in self.nodes if within is None else ast.walk(within):
            if isinstance(node, ast.Call):
                yield node, self.origin(node.func)

    def functions(self) -> Iterator[Function]:
        """Every function and method."""
        for node in self.nodes:
            if isinstance(node, Function):
                yield node

    def classes(self) -> Iterator[ast.ClassDef]:
        """Every class."""
        for node in self.nodes:
            if isinstance(node, ast.ClassDef):
                yield node


@cache
def _all_modules() -> tuple[Module, ...]:
    return tuple(_module(path, ROOT.parent) for path in sorted(ROOT.rglob("*.py")))


@cache
def modules_of_tests() -> tuple[Module, ...]:
    """The modules of the tests."""
    return tuple(_module(path, TESTS.parent) for path in sorted(TESTS.rglob("*.py")))


def modules(*packages: str, but: tuple[str, ...] = ()) -> list[Module]:
    """The modules of these packages, or all; without those of the packages in `but`."""
    return [
        module
        for module in _all_modules()
        if (not packages or _is_in(module.name, packages)) and not _is_in(module.name, but)
    ]


def assert_none(faults: Iterable[str]) -> None:
    """Fail with every fault, each on a line of its own."""
    found = sorted(set(faults))
    assert not found, "\n".join(("", *found))


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    """The value of a keyword argument, if the call has it."""
    return next((given.value for given in call.keywords if given.arg == name), None)


def _module(path: Path, base: Path) -> Module:
    text = path.read_text(encoding="utf-8")
    tree = _parsed(text)
    parts = path.relative_to(base).with_suffix("").parts
    name = ".".join(parts).removesuffix(".__init__")
    return Module(name, path, text, tree, _imports(tree))


def _imports(tree: ast.Module) -> dict[str, str]:
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                whole = alias.name if alias.asname else alias.name.partition(".")[0]
                names[alias.asname or whole] = whole
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def _is_in(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@cache
def operations() -> tuple[RouteContext, ...]:
    """Every operation that the interface has, as it is served."""
    routes = create_app(Settings(environment="test")).routes
    found = [
        route
        for route in iter_route_contexts(routes)
        if isinstance(route.original_route, APIRoute) and route.include_in_schema
    ]
    assert found, "the application has no operations to look at"
    return tuple(found)


def title(operation: RouteContext) -> str:
    """An operation, as people name it: `GET /api/v1/items`."""
    return f"{' '.join(sorted(operation.methods or ()))} {operation.path_format}"


def needed(dependant: Dependant) -> Iterator[Dependant]:
    """Everything that something depends on, at any depth."""
    for dependency in dependant.dependencies:
        yield dependency
        yield from needed(dependency)


def is_ours(dependant: Dependant) -> bool:
    """Whether a dependency is a function that we have written."""
    source = source_of(dependant)
    return inspect.isfunction(source) and source.__module__.startswith("app.")


def source_of(dependant: Dependant) -> Callable[..., Any]:
    """The function behind a dependency, as it is written."""
    assert dependant.call is not None
    function: Callable[..., Any] = inspect.unwrap(dependant.call)
    return function


@cache
def dependencies() -> tuple[Callable[..., Any], ...]:
    """Every function that we have written and that some operation depends on."""
    found = {
        source_of(dependency): None
        for operation in operations()
        for dependency in needed(operation.dependant)
        if is_ours(dependency)
    }
    assert found, "no operation depends on anything"
    return tuple(found)


def syntax_of(function: Callable[..., Any]) -> Function:
    """The syntax tree of a function."""
    (tree,) = _parsed(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(tree, Function)
    return tree


def place_of(function: Callable[..., Any]) -> str:
    """Where a function is, as people look for it."""
    return f"{function.__module__}.{function.__qualname__}"


def _parsed(text: str) -> ast.Module:
    """Parse a source. Garbage waits until then: what it calls would count as depth of the tree.

    CPython 3.11 takes the difference for a fault of its own, and raises a `SystemError`.
    """
    gc.disable()
    try:
        return ast.parse(text)
    finally:
        gc.enable()
