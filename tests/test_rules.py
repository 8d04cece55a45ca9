"""`docs/rules.md` of a project lists every rule, with checks that exist and can fail."""

import ast
import re
import subprocess
import sysconfig
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from tests import manifest
from tools import variant, violations
from tools.violations import Check, Edit, Project, Violation, held_by

COUNTS = {
    "APP": 12,
    "DI": 10,
    "API": 13,
    "SCH": 7,
    "DB": 14,
    "SEC": 17,
    "MID": 3,
    "ERR": 4,
    "ASY": 4,
    "TST": 9,
}
RULES = {f"{section}{n:02}" for section, count in COUNTS.items() for n in range(1, count + 1)}
OF_MODULES = {"TST06": "use_websockets"}
"""Rules of a module."""

OF_TOOLING = {"DB11", "TST02"}
"""Rules enforced by `tests/support` in every run, which `tests/inside` tests."""

ENDS = pytest.mark.parametrize("name", variant.ends(), indirect=True)


def _rules(answers: Mapping[str, object]) -> set[str]:
    return {rule for rule in RULES if rule not in OF_MODULES or answers[OF_MODULES[rule]]}


def _text(project: Path) -> str:
    return (project / "docs/rules.md").read_text(encoding="utf-8")


def _named(project: Path, kind: str) -> set[str]:
    checks = (check for checks in held_by(_text(project)).values() for check in checks)
    return {check.name for check in checks if check.kind == kind}


@cache
def _tests_in(text: str) -> frozenset[str]:
    """Return the tests of a file by their ids: `TestClass::test_name`."""
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    found = set()
    for node in ast.parse(text).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        found |= {f"{prefix}{each.name}" for each in inner if isinstance(each, functions)}
    return frozenset(found)


def test_has_every_rule_once_with_a_check(project: Path, answers: Mapping[str, object]) -> None:
    ids = re.findall(r"^\*\*([A-Z]{2,3}\d\d)\*\* ", _text(project), re.MULTILINE)
    assert sorted(ids) == sorted(_rules(answers))
    assert {rule for rule, checks in held_by(_text(project)).items() if checks} == set(
        ids
    ) - OF_TOOLING


def test_names_tests_that_exist(project: Path) -> None:
    named = [node.partition("::") for node in sorted(_named(project, "test"))]
    assert named
    missing = [
        f"{file}::{test}"
        for file, _, test in named
        if not (project / file).exists()
        or test not in _tests_in((project / file).read_text(encoding="utf-8"))
    ]
    assert missing == []


def test_names_every_contract(project: Path) -> None:
    configuration = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = {each["id"] for each in configuration["tool"]["importlinter"]["contracts"]}
    assert set(re.findall(r"contract `([^`]+)`", _text(project))) == contracts


@ENDS
def test_names_lints_that_are_on(project: Path) -> None:
    shown = subprocess.run(
        ["ruff", "check", "--no-cache", "--show-settings", "."],
        cwd=project,
        capture_output=True,
        text=True,
        check=True,
    )
    enabled = shown.stdout.partition("linter.rules.enabled = [")[2].partition("]")[0]
    named = _named(project, "lint")
    assert named
    assert named <= set(re.findall(r"\(([A-Z]+\d+)\)", enabled))


@ENDS
def test_every_audit_is_named_after_its_rule(project: Path) -> None:
    for file in sorted((project / "tests/contract/audit").glob("test_*.py")):
        for test in _tests_in(file.read_text(encoding="utf-8")):
            if test.startswith("test_"):
                here = f"{file.relative_to(project).as_posix()}::{test}"
                assert Check("test", here) in held_by(_text(project))[test.split("_")[1].upper()]


def test_every_rule_has_a_violation(answers: Mapping[str, object]) -> None:
    found = {each.subject for each in violations.of_rules() if each.fits(answers)}
    assert found == _rules(answers) - OF_TOOLING


def test_every_module_has_registrations() -> None:
    found = {f"use_{each.subject}" for each in violations.of_registrations()}
    assert found == {f"use_{module}" for module in variant.modules()}


def test_every_directive_of_a_module_is_a_registration(template: Path) -> None:
    """Every directive in code, except around imports, has a violation that removes its block."""
    removed = {
        (f"use_{each.subject}", edit.file)
        for each in violations.of_registrations()
        for edit in each.edits
    }
    blocks = {
        (question, path)
        for path in manifest.directives()
        if path.startswith("src/")
        for question in re.findall(
            r"^ .*\{% if cookiecutter\.(use_\w+) %\}$",
            (template / manifest.TREE.name / path).read_text(encoding="utf-8"),
            re.MULTILINE,
        )
    }
    assert blocks <= removed


@ENDS
def test_violations_fit_the_tree(project: Path, answers: Mapping[str, object]) -> None:
    full = all(answers[f"use_{module}"] for module in variant.modules())
    known = [*violations.of_rules(), *(violations.of_registrations() if full else ())]
    misfits = [
        f"{violation.subject}, {violation.what}: {error}"
        for violation in known
        if violation.fits(answers)
        for edit in violation.edits
        if (error := _misfit(project / edit.file, edit))
    ]
    assert not misfits, "\n".join(misfits)


def _misfit(path: Path, edit: Edit) -> str | None:
    try:
        changed = edit.apply(path.read_text(encoding="utf-8") if path.exists() else "")
        if path.suffix == ".py":
            compile(changed, edit.file, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        return str(error)
    return None


@ENDS
def test_lints_catch_their_violations(project: Path, tmp_path: Path) -> None:
    """The other checks need an environment of the project: `tox -e violations` runs them."""
    (tmp_path / "pyproject.toml").write_bytes((project / "pyproject.toml").read_bytes())
    environment = {"PATH": ""}
    copy = Project(tmp_path, Path(sysconfig.get_path("scripts")) / "python", environment)
    held = held_by(_text(project))
    for violation in violations.of_rules():
        checks = held.get(violation.subject, [])
        if {check.kind for check in checks} == {"lint"}:
            caught, output = copy.catches(violation, checks)
            assert caught, f"{violation}: {output}"


class TestTool:
    """`tools/violations.py` itself."""

    TEXT = """
**AB01** One thing
that is long.
<br><sub>lint `B006`, types,
test `tests/test_a.py::test_b`</sub>

**AB02** Another with types.
<br><sub>contract `layers`, contract `no-cycles`</sub>
"""

    def test_reads_the_checks_of_each_rule(self) -> None:
        assert held_by(self.TEXT) == {
            "AB01": [
                Check("lint", "B006"),
                Check("types", ""),
                Check("test", "tests/test_a.py::test_b"),
            ],
            "AB02": [Check("contract", "layers"), Check("contract", "no-cycles")],
        }

    @pytest.mark.parametrize(
        ("edit", "after"),
        [
            (Edit("a.py", "1", "2"), "a = 2\nb = 3\n"),
            (Edit("a.py", "", "c\n"), "a = 1\nb = 3\nc\n"),
            (Edit("a.py", "b ="), "a = 1\n"),
        ],
    )
    def test_replaces_adds_and_removes(self, edit: Edit, after: str) -> None:
        assert edit.apply("a = 1\nb = 3\n") == after

    @pytest.mark.parametrize("find", ["x", "="])
    def test_refuses_an_edit_that_does_not_fit(self, find: str) -> None:
        with pytest.raises(ValueError, match=r"a\.py has"):
            Edit("a.py", find, "b").apply("a = 1\nb = 3\n")

    @pytest.mark.parametrize(
        ("script", "caught"),
        [
            ('echo "new.py:1: E1 no"; exit 1', True),
            ('echo "new.py:2: E1 no"; exit 1', False),
            ('echo "new.py:1: E2 no"; exit 1', False),
            ('echo "new.py:1: E1 no"; exit 0', False),
        ],
        ids=["caught", "another-line", "another-check", "passed"],
    )
    def test_reverts_a_violation_and_reports_a_catch(
        self, tmp_path: Path, script: str, caught: bool
    ) -> None:
        program = tmp_path / "ruff"
        program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        program.chmod(0o755)
        violation = Violation("AB01", "fault", (Edit("new.py", "", "a = 1  # caught\n"),))
        project = Project(tmp_path, tmp_path / "python", {})
        assert project.catches(violation, [Check("lint", "E1")])[0] is caught
        assert [path.name for path in tmp_path.iterdir()] == ["ruff"]
