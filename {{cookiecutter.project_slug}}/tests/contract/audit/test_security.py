"""Rules of security and middleware that source and running dependencies show."""

import ast
import inspect
from collections.abc import Iterator

import pytest
from starlette.middleware import Middleware

from app.api.deps.auth import get_principal
from app.config import Settings
from app.core.config import HttpSettings
from app.domain.permissions import PERMISSIONS, ROLES
from app.infrastructure.http.middleware import middleware
from tests.contract.audit.source import (
    Module,
    assert_none,
    modules,
    needed,
    operations,
    source_of,
    title,
)

pytestmark = pytest.mark.untraced

OPEN = frozenset(
    {
        "POST /api/v1/auth/token",
        "POST /api/v1/auth/refresh",
        "POST /api/v1/auth/logout",
        "POST /api/v1/users",
    }
)
"""What somebody who is not logged in may ask."""


def test_sec06_asks_for_permissions_by_scopes() -> None:
    """SEC06: roles hold permissions; routes ask for permissions through `Security` scopes."""
    asked = {
        title(operation): {
            scope
            for dependency in needed(operation.dependant)
            if source_of(dependency) is get_principal
            for scope in dependency.own_oauth_scopes or ()
        }
        for operation in operations()
        if str(operation.path_format).startswith("/api/")
    }
    assert {operation for operation, scopes in asked.items() if not scopes} == OPEN
    assert set().union(*asked.values()) == set(PERMISSIONS) == set().union(*ROLES.values())
    assert_none(fault for module in modules("app.api") for fault in _asks_for_a_role(module))


def test_mid01_lists_plain_asgi_middleware_with_reasons() -> None:
    """MID01: middleware is plain ASGI, in classes, in one ordered list with reasons."""
    (listing,) = [m for m in modules() if m.name == middleware.__module__]
    listed = {origin for _, origin in listing.calls()}
    assert_none(fault for module in modules() for fault in _elsewhere(module, listed))
    assert_none(
        listing.at(layer, f"say in a comment above it why {ast.unparse(layer)[:60]} stands here")
        for layer in _layers(listing)
        if not _has_reason(listing, layer)
    )
    everything = Settings(
        http=HttpSettings(cors_origins=["https://a.example"], trusted_hosts=["a"])
    )
    assert_none(
        f"{layer.cls} is not an ASGI application with `__call__(scope, receive, send)`"
        for layer in middleware(everything)
        if not _is_plain(layer)
    )


def _layers(listing: Module) -> Iterator[ast.expr]:
    """What is put into the list, where it is put."""
    for node in listing.nodes:
        match node:
            case ast.Call(func=ast.Attribute(attr="append"), args=[layer]):
                yield layer
            case ast.List(elts=[ast.Call() | ast.Starred(), *_]):
                yield from (each for each in node.elts if not isinstance(each, ast.Starred))
            case _:
                continue


def _asks_for_a_role(module: Module) -> Iterator[str]:
    what = "ask for a permission: `Security(get_principal, scopes=[...])`"
    for node in module.nodes:
        match node:
            case ast.Compare(left=left, comparators=others):
                names = {each.attr for each in (left, *others) if isinstance(each, ast.Attribute)}
                if "role" in names:
                    yield module.at(node, what)
            case ast.Call(func=called, args=[first, *_]):
                ends = (module.origin(called), module.origin(first))
                if ends == ("fastapi.Depends", f"{get_principal.__module__}.get_principal"):
                    yield module.at(node, what)
            case _:
                continue


def _elsewhere(module: Module, listed: set[str]) -> Iterator[str]:
    what = "write a plain ASGI class, and list it in app.infrastructure.http.middleware"
    for node in module.nodes:
        if isinstance(node, ast.Attribute) and node.attr in {"add_middleware", "middleware_stack"}:
            yield module.at(node, what)
        if isinstance(node, ast.Name) and node.id == "BaseHTTPMiddleware":
            yield module.at(node, what)
    for function in module.functions():
        for decorator in function.decorator_list:
            if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "app.middleware":
                yield module.at(function, what)
        if f"{module.name}.{function.name}" not in listed | {f"{middleware.__module__}.middleware"}:
            for call, origin in module.calls(function):
                if origin == "starlette.middleware.Middleware":
                    yield module.at(call, what)


def _has_reason(module: Module, layer: ast.expr) -> bool:
    lines = module.text.splitlines()
    above = [line.strip() for line in lines[: layer.lineno - 1]]
    return [line for line in above if line != "layers.append("][-1].startswith("# ")


def _is_plain(layer: Middleware) -> bool:
    call = getattr(layer.cls, "__call__", None)  # noqa: B004 - its signature is asked for
    names = list(inspect.signature(call).parameters) if call else []
    return names[-3:] == ["scope", "receive", "send"] and inspect.iscoroutinefunction(call)
