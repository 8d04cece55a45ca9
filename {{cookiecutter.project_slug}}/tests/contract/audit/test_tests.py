"""Rules of the tests that their own source shows."""

import ast
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.audit.source import (
    TESTS,
    Module,
    assert_none,
    keyword,
    modules,
    modules_of_tests,
)

pytestmark = pytest.mark.untraced

SUPPORT = "tests.support"
ON_ITS_OWN_LOOP = "client"
ON_OUR_LOOP = frozenset({"async_client", "own_client"})
CLIENTS = frozenset({"httpx.AsyncClient", "httpx.Client", "httpx2.AsyncClient", "httpx2.Client"})
EXCLUDED = "pragma: no " + "cover"


def test_tst01_tests_by_the_client_that_fits() -> None:
    """TST01: `TestClient` where sync serves, an asynchronous client where concurrency matters."""
    assert_none(fault for module in modules_of_tests() for fault in _misfits(module))


def test_tst03_is_set_up_for_random_order_and_parallel_runs() -> None:
    """TST03: the suite passes in random order and in parallel."""
    project = _project()
    options = project["tool"]["pytest"]["ini_options"]["addopts"]
    assert any(option.startswith("-n") for option in options)
    assert not any("randomly" in option for option in options)
    needed = {name.partition(">")[0] for name in project["dependency-groups"]["dev"]}
    assert {"pytest-randomly", "pytest-xdist"} <= needed


def test_tst04_takes_data_from_factories() -> None:
    """TST04: data come from factories, and no client talks to the world."""
    assert_none(
        module.at(call, f"take it from a factory: {origin.rpartition('.')[2]}Factory.build(...)")
        for module in _outside_support()
        for call, origin in module.calls()
        if re.fullmatch(r"app\.models(\.\w+)?\.[A-Z]\w+", origin)
    )
    assert_none(
        module.at(call, "give it a transport: no test talks to the world")
        for module in _outside_support()
        for call, origin in module.calls()
        if origin in CLIENTS and keyword(call, "transport") is None
    )


def test_tst09_excludes_no_line_from_coverage() -> None:
    """TST09: branch coverage of at least 95 %, and no line is excluded to get there."""
    coverage = _project()["tool"]["coverage"]
    assert coverage["run"]["branch"] is True
    assert coverage["run"]["source_pkgs"] == ["app"]
    assert coverage["report"]["fail_under"] >= 95
    given = coverage["run"].keys() | coverage["report"].keys()
    assert given & {"omit", "include", "exclude_lines", "partial_branches"} == set()
    assert coverage["report"].get("exclude_also", []) == []
    assert_none(
        f"{module.name}: write a test for the line instead of excluding it"
        for module in (*modules(), *modules_of_tests())
        if EXCLUDED in module.text
    )


def _project() -> dict[str, Any]:
    return tomllib.loads((TESTS.parent / "pyproject.toml").read_text(encoding="utf-8"))


def _outside_support() -> list[Module]:
    return [module for module in modules_of_tests() if not module.name.startswith(SUPPORT)]


def _misfits(module: Module) -> Iterator[str]:
    for function in module.functions():
        if not function.name.startswith("test_"):
            continue
        asked = {argument.arg for argument in (*function.args.args, *function.args.kwonlyargs)}
        is_async = isinstance(function, ast.AsyncFunctionDef)
        if is_async and ON_ITS_OWN_LOOP in asked:
            yield module.at(function, "`client` blocks the loop here: make it a plain function")
        if not is_async and asked & ON_OUR_LOOP:
            yield module.at(function, "it can't wait for this client: take `client`")
