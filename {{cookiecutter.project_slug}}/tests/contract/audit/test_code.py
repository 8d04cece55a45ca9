"""Rules checked on the source."""

import ast
import asyncio
import os
import re
import tomllib
from typing import Any

import aiosmtplib
from sqlalchemy import literal_column, select, text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from tests.contract.audit.source import (
    APP,
    TESTS,
    Module,
    assert_none,
    calls,
    keyword,
    library,
    nodes,
)

TIME_LIMITS = {
    aiosmtplib.SMTP: "timeout",
    aiosmtplib.send: "timeout",
    asyncio.wait: "timeout",
    create_async_engine: "connect_args",
}
LIMITS = {asyncio.timeout, asyncio.timeout_at, asyncio.wait_for}
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef
PROJECT: dict[str, Any] = tomllib.loads((TESTS.parent / "pyproject.toml").read_text("utf-8"))


def test_app03_reads_the_environment_in_the_settings_only() -> None:
    """APP03: all configuration is one tree of settings; nothing else reads the environment."""
    environment = (os.environ, os.environb, os.getenv)
    assert_none(
        module.at(node, "make it a setting")
        for module, node in nodes(ast.Name | ast.Attribute)
        if any(module.resolve(node) is each for each in environment)
        if not module.name.startswith("app.core.config")
    )


def test_di01_writes_every_parameter_as_annotated() -> None:
    """DI01: dependencies and parameters are `Annotated`, never defaults."""
    assert_none(
        module.at(default, "write `name: Annotated[T, …]`")
        for module, function in nodes(FUNCTION, "app.api", "app.infrastructure.http")
        for default in filter(None, (*function.args.defaults, *function.args.kw_defaults))
        if any(library(called) == "fastapi" for _, called in module.calls(default))
    )


def test_db02_keeps_entities_after_the_commit() -> None:
    """DB02: sessions come from an `async_sessionmaker` with `expire_on_commit=False`."""
    assert_none(
        module.at(call, "give it `expire_on_commit=False`")
        for module, call, called in calls()
        if called is async_sessionmaker
        if getattr(keyword(call, "expire_on_commit"), "value", None) is not False
    )


def test_db05_binds_the_values_of_its_statements() -> None:
    """DB05: values are bound, never written into text."""
    assert_none(
        module.at(call, "bind the values: `text('… :name')`")
        for module, call, called in calls()
        if called in (text, literal_column) or _method(call) == "exec_driver_sql"
        if not all(_is_constant(module, argument) for argument in call.args)
    )


def test_db07_reads_the_columns_that_it_needs() -> None:
    """DB07: reads select columns; whole entities are loaded to be written, and locked."""
    locking = (call for _, call, _ in calls() if _method(call) == "with_for_update")
    locked = {inner for call in locking for inner in ast.walk(call)}
    assert_none(
        module.at(call, "select columns into a read model")
        for module, call, called in calls("app.repositories", "app.services")
        if called is select and call not in locked
        if any(hasattr(module.resolve(each), "__table__") for each in call.args)
    )


def test_asy02_runs_independent_awaits_concurrently() -> None:
    """ASY02: independent awaits run concurrently, in a task group with a time limit."""
    assert_none(
        (
            module.at(node, "start them in an asyncio.TaskGroup")
            for module, node in nodes(ast.ListComp | ast.SetComp | ast.DictComp | ast.For)
            if _waits_one_by_one(node)
        ),
        (
            module.at(call, "use an asyncio.TaskGroup: it ends the others when one fails")
            for module, call, called in calls()
            if called is asyncio.gather and not keyword(call, "return_exceptions")
        ),
        (
            module.at(function, "limit the time of its task group, by `asyncio.timeout(…)`")
            for module, function in nodes(FUNCTION)
            if asyncio.TaskGroup in (within := [called for _, called in module.calls(function)])
            if not any(called in LIMITS for called in within if callable(called))
            if "time_limit" not in {argument.arg for argument in function.args.args}
        ),
    )


def test_asy03_limits_every_call_out_of_the_process() -> None:
    """ASY03: every call out of the process has a time limit."""
    assert_none(
        module.at(call, f"give it a `{limit}`")
        for module, call, called in calls()
        if (limit := _time_limit(called)) and not keyword(call, limit)
    )


def test_tst01_uses_the_fitting_client() -> None:
    """TST01: `TestClient`, or an asynchronous client where concurrency matters."""
    assert_none(
        module.at(function, "`client` is for plain functions, the others for asynchronous ones")
        for module, function in nodes(FUNCTION, "tests")
        for argument in (*function.args.args, *function.args.kwonlyargs)
        if function.name.startswith("test_")
        if argument.arg in {"client", "async_client", "own_client"}
        if isinstance(function, ast.AsyncFunctionDef) is (argument.arg == "client")
    )


def test_tst03_runs_in_random_order_and_in_parallel() -> None:
    """TST03: the suite passes in random order and in parallel."""
    needed = {re.split(r"[\[<>=]", name)[0] for name in PROJECT["dependency-groups"]["dev"]}
    assert {"pytest-randomly", "pytest-xdist"} <= needed
    options = PROJECT["tool"]["pytest"]["ini_options"]["addopts"]
    assert "-n=auto" in options
    assert "randomly" not in " ".join(options)


def test_tst04_takes_data_from_factories() -> None:
    """TST04: data comes from factories, and no client uses the network."""
    assert_none(
        module.at(call, "take a row from a factory, and give a client a `transport`")
        for module, call, called in calls("tests")
        if isinstance(called, type)
        if hasattr(called, "__table__") or (_is_client(called) and not keyword(call, "transport"))
    )


def test_tst09_excludes_no_line_from_coverage() -> None:
    """TST09: branch coverage of at least 95 %, and no line is excluded to get there."""
    run, report = PROJECT["tool"]["coverage"]["run"], PROJECT["tool"]["coverage"]["report"]
    assert run["branch"] is True
    assert run["source_pkgs"] == ["app"]
    assert report["fail_under"] >= 95
    assert not {"omit", "include", "exclude_lines", "partial_branches"} & {*run, *report}
    assert not report.get("exclude_also")
    excluded = "pragma: no " + "cover"
    sources = [path for root in (APP, TESTS) for path in root.rglob("*.py")]
    assert [path for path in sources if excluded in path.read_text("utf-8")] == []


def _method(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _is_client(called: Any) -> bool:
    return library(called).startswith("httpx") and called.__name__.endswith("Client")


def _time_limit(called: Any) -> str | None:
    if isinstance(called, type) and _is_client(called):
        return "timeout"
    return next((limit for each, limit in TIME_LIMITS.items() if each is called), None)


def _is_constant(module: Module, node: ast.AST, *, part: bool = False) -> bool:
    """Return whether a string, or a part of one, is constant as far as the module shows."""
    match node:
        case ast.JoinedStr() | ast.BinOp() | ast.FormattedValue():
            parts = ast.iter_child_nodes(node)
            return all(_is_constant(module, each, part=True) for each in parts)
        case ast.Name(id=name) if module.resolve(node) is None:
            assigned = [n for n in module.nodes if isinstance(n, ast.Assign)]
            values = [n.value for n in assigned if name in map(ast.unparse, n.targets)]
            constant = all(_is_constant(module, value) for value in values)
            return constant and bool(values or not part)
        case ast.Call(func=ast.Attribute(attr="format" | "join")):
            return False
        case ast.Call() | ast.Attribute() | ast.Subscript():
            return not part or module.resolve(node) is not None
        case _:
            return True


def _waits_one_by_one(node: ast.AST) -> bool:
    match node:
        case ast.ListComp(elt=each) | ast.SetComp(elt=each) | ast.DictComp(value=each):
            return isinstance(each, ast.Await)
        case ast.For(body=[ast.Expr(value=ast.Call(args=[ast.Await()]))]):
            return True
        case _:
            return False
