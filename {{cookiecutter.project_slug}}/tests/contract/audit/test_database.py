"""Rules of database access that the source shows."""

import ast
from collections.abc import Iterator

import pytest

from app import models
from tests.contract.audit.source import Module, assert_none, keyword, modules

pytestmark = pytest.mark.untraced

ENTITIES = frozenset(models.__all__) - {"Base"}
RAW = frozenset({"text", "literal_column", "exec_driver_sql", "execute"})


def test_db02_keeps_entities_after_the_commit() -> None:
    """DB02: `async_sessionmaker` with `expire_on_commit=False`."""
    makers = [
        (module, call)
        for module in modules()
        for call, origin in module.calls()
        if origin.endswith(".async_sessionmaker")
    ]
    assert makers, "sessions are made by an async_sessionmaker"
    assert_none(
        module.at(call, "give it expire_on_commit=False: a reload after the commit is a lazy query")
        for module, call in makers
        if getattr(keyword(call, "expire_on_commit"), "value", None) is not False
    )
    assert_none(
        module.at(call, "take a session from `Database.transaction()`")
        for module in modules()
        for call, origin in module.calls()
        if origin.startswith("sqlalchemy.orm.")
        if origin.rpartition(".")[2] in {"sessionmaker", "Session", "scoped_session"}
    )


def test_db05_selects_and_binds_its_values() -> None:
    """DB05: `select()`; never the legacy query API; values only ever as bound parameters."""
    assert_none(fault for module in modules() for fault in _legacy(module))
    assert_none(fault for module in modules() for fault in _made_of_text(module))


def test_db07_reads_the_columns_that_it_needs() -> None:
    """DB07: only the columns that are needed, where rows are many."""
    repositories = modules("app.repositories")
    assert_none(
        module.at(call, "select columns into a read model; whole entities are for writes, locked")
        for module in repositories
        for call, origin in module.calls()
        if origin == "sqlalchemy.select" and any(_is_entity(module, arg) for arg in call.args)
        if call not in _locked(module)
    )
    assert_none(
        module.at(call, "a read works on rows: let the repository load the entity")
        for module in modules("app.services")
        for call, origin in module.calls()
        if origin in {"sqlalchemy.select", "sqlalchemy.update", "sqlalchemy.delete"}
    )


def _legacy(module: Module) -> Iterator[str]:
    for call, _ in module.calls():
        if isinstance(call.func, ast.Attribute) and call.func.attr == "query":
            yield module.at(call, "`.query()` is the legacy API: write `select(...)`")


def _made_of_text(module: Module) -> Iterator[str]:
    """Statements in text that is put together: what is put in could be anything."""
    for call, origin in module.calls():
        if origin.rpartition(".")[2] in RAW and call.args:
            first = call.args[0]
            made = isinstance(first, ast.JoinedStr | ast.BinOp) or _is_formatted(first)
            if made:
                yield module.at(call, "values go in as bound parameters: `text(':name')`")


def _is_formatted(node: ast.expr) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str()), attr="format" | "join")):
            return True
        case _:
            return False


def _is_entity(module: Module, node: ast.expr) -> bool:
    origin = module.origin(node) if isinstance(node, ast.Name | ast.Attribute) else ""
    return origin.startswith("app.models.") and origin.rpartition(".")[2] in ENTITIES


def _locked(module: Module) -> set[ast.Call]:
    """The calls inside a statement that locks what it reads."""
    return {
        inner
        for call, _ in module.calls()
        if isinstance(call.func, ast.Attribute) and call.func.attr == "with_for_update"
        for inner, _ in module.calls(call)
    }
