"""The tool that shows that every rule is held."""

from pathlib import Path

import pytest

from tools.plant import Check, fails, held_by, parsed, planted
from tools.violations import Edit, Violation

TABLE = """
| id | rule | held by |
| --- | --- | --- |
| AB01 | One thing. | lint `B006`, types, test `tests/test_a.py::test_b` |
| AB02 | Another | contract `layers`, contract `no-cycles` |
"""


def _violation(*edits: Edit) -> Violation:
    return Violation("AB01", "a mistake", "types", edits)


def test_reads_what_holds_each_rule() -> None:
    assert held_by(TABLE) == {
        "AB01": [
            Check("lint", "B006"),
            Check("types", ""),
            Check("test", "tests/test_a.py::test_b"),
        ],
        "AB02": [Check("contract", "layers"), Check("contract", "no-cycles")],
    }


@pytest.mark.parametrize("text", ["lint S608", "types", "test tests/test_a.py::test_b[POST /x]"])
def test_reads_a_check_as_it_writes_it(text: str) -> None:
    assert str(parsed(text)) == text


def test_plants_and_takes_back(tmp_path: Path) -> None:
    (tmp_path / "old.py").write_text("a = 1\n", encoding="utf-8")
    edits = (Edit("old.py", "1", "2"), Edit("old.py", "", "b = 3\n"), Edit("new/new.py", "", "c\n"))
    with planted(_violation(*edits), tmp_path):
        assert (tmp_path / "old.py").read_text(encoding="utf-8") == "a = 2\nb = 3\n"
        assert (tmp_path / "new/new.py").read_text(encoding="utf-8") == "c\n"
    assert (tmp_path / "old.py").read_text(encoding="utf-8") == "a = 1\n"
    assert not (tmp_path / "new/new.py").exists()


@pytest.mark.parametrize("find", ["x", "a"])
def test_refuses_an_edit_that_does_not_fit_and_takes_back(tmp_path: Path, find: str) -> None:
    (tmp_path / "old.py").write_text("a = a\n", encoding="utf-8")
    edits = (Edit("old.py", "= ", "== "), Edit("old.py", find, "b"))
    with (
        pytest.raises(ValueError, match=r"AB01: old\.py has"),
        planted(_violation(*edits), tmp_path),
    ):
        pass
    assert (tmp_path / "old.py").read_text(encoding="utf-8") == "a = a\n"


@pytest.mark.parametrize(
    ("text", "code", "output", "expected"),
    [
        ("lint S608", 1, "a.py:1:1: S608 Possible SQL injection", True),
        ("lint S608", 1, "a.py:1:1: S60 Something else", False),
        ("types", 1, "a.py:1: error: no", True),
        ("types", 2, "a.py:1: error: a syntax error", False),
        ("contract layers", 1, "Imports go down BROKEN", True),
        ("contract layers", 1, "Could not find package", False),
        ("test a.py::test_b", 1, "1 failed, 2 passed", True),
        ("test a.py::test_b", 0, "3 passed", False),
        ("test a.py::test_b", 4, "ERROR: not found: a.py::test_b", False),
        ("test a.py::test_b", 2, "1 error during collection", False),
    ],
)
def test_tells_a_failure_from_a_breakdown(
    text: str, code: int, output: str, expected: bool
) -> None:
    assert fails(parsed(text), code, output) is expected
