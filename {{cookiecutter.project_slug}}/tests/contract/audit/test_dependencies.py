"""Rules of dependency injection that source and running dependencies show."""

import ast
import inspect
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.dependencies.models import Dependant

from app.api.deps import auth, database, rate_limits, resources, services
from app.api.deps.rate_limits import limit_address
from app.api.deps.services import get_authenticator
from tests.contract.audit.source import (
    Function,
    Module,
    assert_none,
    dependencies,
    is_ours,
    modules,
    needed,
    operations,
    place_of,
    source_of,
    syntax_of,
    title,
)

pytestmark = pytest.mark.untraced

MARKERS = frozenset(
    f"fastapi.{name}"
    for name in ("Body", "Cookie", "Depends", "File", "Form", "Header", "Path", "Query", "Security")
)
LAYERS = (
    resources.__name__,
    database.__name__,
    services.__name__,
    auth.__name__,
)
"""Settings and other resources, then the session, then services on their repositories, then what
a route requires of who asks. Repositories are the services' own and no dependencies."""

BLOCKING = frozenset({"open", "read_text", "write_text", "read_bytes", "connect", "execute"})


def test_di01_writes_every_parameter_as_annotated() -> None:
    """DI01: `Annotated[T, Depends(...)]` always, never a bare default."""
    faults = [
        module.at(default, "write `name: Annotated[T, ...]`; a default is a value, not a marker")
        for module in modules("app.api")
        for function in module.functions()
        for default in (*function.args.defaults, *function.args.kw_defaults)
        if isinstance(default, ast.Call) and module.origin(default.func) in MARKERS
    ]
    assert faults == []


def test_di02_gives_an_alias_to_what_is_used_twice() -> None:
    """DI02: what is used twice has an alias, and one alias only."""
    inline, aliases = _parameters(), _aliases()
    used = Counter(text for text, _ in (*inline, *aliases))
    assert_none(
        f"{place}: used more than once; give {text} an alias in app.api.deps"
        for text, place in inline
        if used[text] > 1
    )
    named = Counter(text for text, _ in aliases)
    assert_none(f"{place}: {text} has another alias" for text, place in aliases if named[text] > 1)
    names = {place.rpartition(" ")[2] for _, place in aliases}
    provided = {f"{_provided(function)}Dep" for function in _provided_services()}
    assert {"SettingsDep", "SessionDep", "CurrentUser", "AdminUser", *provided} <= names


def test_di04_makes_a_dependency_async_only_for_io() -> None:
    """DI04: a dependency that does I/O is async; one that does not is a plain function."""
    assert_none(fault for function in dependencies() for fault in _wrong_kind(function))


def test_di05_builds_dependencies_in_layers() -> None:
    """DI05: settings, session, service, and then what a route requires, each on those before."""
    assert_none(
        f"{place_of(function)} stands on {place_of(below)}: a dependency builds on those below it"
        for function, below in _edges()
        if _layer(function) <= _layer(below) != 0
    )
    assert_none(
        f"{title(operation)} takes {dependency.name}: give the route a service"
        for operation in operations()
        for dependency in operation.dependant.dependencies
        if source_of(dependency).__module__ == database.__name__
    )
    requirements = {source_of(each) for each in needed(_principal())}
    assert inspect.unwrap(get_authenticator) in requirements
    assert_none(
        f"{title(operation)} is not held to a rate limit: include its router in app.api.v1.router"
        for operation in operations()
        if str(operation.path_format).startswith("/api/")
        if limit_address not in {each.call for each in needed(operation.dependant)}
    )


def test_di06_chains_no_more_dependencies_than_there_are_layers() -> None:
    """DI06: no chain of dependencies is deeper than the layers; none goes in a circle."""
    # Deeper than the interpreter goes is what a circle would be: the application could not start.
    assert_none(
        f"{title(operation)} stands on {' > '.join(chain)}: merge two of them"
        for operation in operations()
        for chain in _chains(operation.dependant)
        if len(chain) > len(LAYERS)
    )


def test_di09_says_what_a_dependency_returns_and_stands_on() -> None:
    """DI09: every dependency states its return type, and what it stands on in its docstring."""
    assert_none(
        f"{place_of(function)}: state what it returns"
        for function in dependencies()
        if "return" not in function.__annotations__
    )
    assert_none(
        f"{place_of(function)}: say in its docstring what it stands on"
        for function in dependencies()
        if "stands on" not in " ".join((function.__doc__ or "").split())
    )


def _parameters() -> list[tuple[str, str]]:
    """What stands in a signature as `Annotated` with a marker, and where."""
    return [
        (ast.unparse(argument.annotation), module.at(argument, argument.arg))
        for module in modules("app.api")
        for function in module.functions()
        for argument in (*function.args.args, *function.args.kwonlyargs)
        if argument.annotation is not None and _is_marked(module, argument.annotation)
    ]


def _aliases() -> list[tuple[str, str]]:
    return [
        (ast.unparse(statement.value), module.at(statement, ast.unparse(statement.targets[0])))
        for module in modules("app.api")
        for statement in module.tree.body
        if isinstance(statement, ast.Assign) and _is_marked(module, statement.value)
    ]


def _is_marked(module: Module, annotation: ast.expr) -> bool:
    if not isinstance(annotation, ast.Subscript):
        return False
    marked = any(origin in MARKERS for _, origin in module.calls(annotation))
    return marked and module.origin(annotation.value).endswith(".Annotated")


def _provided_services() -> list[Callable[..., Any]]:
    """The dependencies that give a service; an export reads by the same service as a list."""
    given = [f for f in dependencies() if f.__module__ == services.__name__]
    return [f for f in given if not f.__name__.endswith("_export")]


def _provided(function: Callable[..., Any]) -> str:
    provided: type = function.__annotations__["return"]
    return provided.__name__


def _wrong_kind(function: Callable[..., Any]) -> Iterator[str]:
    syntax = syntax_of(function)
    waits = any(_waits(node) for node in ast.walk(syntax))
    if isinstance(syntax, ast.AsyncFunctionDef) and not waits:
        yield f"{place_of(function)} waits for nothing: make it a plain function, `@on_loop`"
    if isinstance(syntax, ast.FunctionDef):
        if "on_loop" not in {ast.unparse(d) for d in syntax.decorator_list}:
            yield f"{place_of(function)} takes a thread for nothing: put `@on_loop` on it"
        for name in _called(syntax) & BLOCKING:
            yield f"{place_of(function)} does I/O by `{name}`: make it async"


def _waits(node: ast.AST) -> bool:
    return isinstance(node, ast.Await | ast.AsyncWith | ast.AsyncFor)


def _called(syntax: Function) -> set[str]:
    calls = [node.func for node in ast.walk(syntax) if isinstance(node, ast.Call)]
    return {getattr(call, "attr", getattr(call, "id", "")) for call in calls}


def _edges() -> set[tuple[Callable[..., Any], Callable[..., Any]]]:
    return {
        (source_of(upper), source_of(lower))
        for operation in operations()
        for upper in needed(operation.dependant)
        for lower in upper.dependencies
        if is_ours(upper) and is_ours(lower)
    }


def _layer(function: Callable[..., Any]) -> int:
    """The number of a dependency's layer; what stands in none of the files is a requirement."""
    place = function.__module__
    if place == rate_limits.__name__:
        return 1 if function.__name__ == "get_rate_limiter" else len(LAYERS)
    return LAYERS.index(place) if place in LAYERS else len(LAYERS)


def _principal() -> Dependant:
    return next(
        dependency
        for operation in operations()
        for dependency in needed(operation.dependant)
        if source_of(dependency) is auth.get_principal
    )


def _chains(dependant: Dependant) -> Iterator[list[str]]:
    for dependency in dependant.dependencies:
        if not is_ours(dependency):
            continue
        name = source_of(dependency).__name__
        yield [name]
        for chain in _chains(dependency):
            yield [name, *chain]
