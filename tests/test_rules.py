"""`docs/rules.md` of a generated project: it has every rule, and what it names is really there."""

import ast
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest

from tools import variant
from tools.plant import Check, held_by, parsed, planted
from tools.violations import VIOLATIONS, Violation

COUNTS = {
    "APP": 12,
    "DI": 10,
    "API": 13,
    "SCH": 7,
    "DB": 12,
    "SEC": 16,
    "MID": 3,
    "ERR": 4,
    "ASY": 4,
    "TST": 9,
}
"""The catalogue: how many rules each section has."""

RULES = {
    f"{section}{number:02}" for section, count in COUNTS.items() for number in range(1, count + 1)
}
OF_MODULES = {"TST06": "websockets"}
"""The rules about a module, which projects without it have not."""

CONTRACTS = re.compile(r"contract `([^`]+)`")


def _rules(answers: dict[str, str | bool]) -> set[str]:
    """The rules that a variant has."""
    return {rule for rule in RULES if rule not in OF_MODULES or answers[f"use_{OF_MODULES[rule]}"]}


def _held(project: Path) -> dict[str, list[Check]]:
    return held_by((project / "docs/rules.md").read_text(encoding="utf-8"))


def _named(project: Path, kind: str) -> set[str]:
    return {
        check.name for checks in _held(project).values() for check in checks if check.kind == kind
    }


@cache
def _tests_in(file: Path) -> frozenset[str]:
    """The tests of a file, as they stand in the id of a node: `TestClass::test_name`."""
    found = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        found |= {
            f"{prefix}{each.name}"
            for each in inner
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
        }
    return frozenset(found)


def test_has_every_rule_once_and_no_other(project: Path, answers: dict[str, str | bool]) -> None:
    text = (project / "docs/rules.md").read_text(encoding="utf-8")
    ids = re.findall(r"^\| ([A-Z]{2,3}\d\d) \|", text, re.MULTILINE)
    assert sorted(ids) == sorted(_rules(answers))


def test_names_something_that_holds_each_rule(
    project: Path, answers: dict[str, str | bool]
) -> None:
    assert {rule for rule, checks in _held(project).items() if checks} == _rules(answers)


def test_names_tests_that_are_there(project: Path) -> None:
    named = _named(project, "test")
    assert named
    missing = []
    for node in sorted(named):
        file, _, name = node.partition("::")
        path = project / file
        if not path.exists() or name not in _tests_in(path):
            missing.append(node)
    assert missing == []


def test_names_contracts_that_are_there_and_all_of_them(project: Path) -> None:
    configuration = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = {each["id"] for each in configuration["tool"]["importlinter"]["contracts"]}
    text = (project / "docs/rules.md").read_text(encoding="utf-8")
    assert set(CONTRACTS.findall(text)) == contracts


def test_names_lints_that_are_on(project: Path) -> None:
    shown = subprocess.run(
        ["ruff", "check", "--no-cache", "--show-settings", "."],
        cwd=project,
        capture_output=True,
        text=True,
        check=True,
    )
    enabled = shown.stdout.partition("linter.rules.enabled = [")[2].partition("]")[0]
    codes = set(re.findall(r"\(([A-Z]+\d+)\)", enabled))
    named = _named(project, "lint")
    assert named
    assert named - codes == set()


def test_its_audits_name_their_rules(project: Path) -> None:
    """The id of the rule is in the name of the test and opens its docstring."""
    for file in sorted((project / "tests/contract/audit").glob("test_*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                rule = node.name.split("_")[1].upper()
                assert rule in RULES, node.name
                assert (ast.get_docstring(node) or "").startswith(f"{rule}: "), node.name
                here = f"{file.relative_to(project).as_posix()}::{node.name}"
                assert here in {check.name for check in _held(project)[rule]}, node.name


def test_every_rule_has_a_violation() -> None:
    assert {violation.rule for violation in VIOLATIONS} == RULES


def test_every_rule_has_a_violation_in_every_variant(answers: dict[str, str | bool]) -> None:
    assert {each.rule for each in VIOLATIONS if each.fits(answers)} == _rules(answers)


@pytest.mark.parametrize("name", variant.ends(), indirect=True)
@pytest.mark.parametrize("violation", VIOLATIONS, ids=lambda each: f"{each.rule}: {each.what}")
def test_a_violation_can_be_made_and_is_caught_by_what_is_named(
    project: Path, answers: dict[str, str | bool], violation: Violation, tmp_path: Path
) -> None:
    if not violation.fits(answers):
        return
    check = parsed(violation.held_by)
    named = Check(check.kind, check.name.partition("[")[0])
    assert named in _held(project)[violation.rule]
    for edit in violation.edits:
        if (project / edit.file).exists():
            (tmp_path / edit.file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / edit.file).write_bytes((project / edit.file).read_bytes())
    with planted(violation, tmp_path):
        for edit in violation.edits:
            text = (tmp_path / edit.file).read_text(encoding="utf-8")
            assert edit.put in text
            if edit.file.endswith(".py"):
                compile(text, edit.file, "exec", dont_inherit=True)
