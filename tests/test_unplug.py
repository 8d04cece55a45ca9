"""The tool that shows that no module comes loose unnoticed."""

import shutil
from pathlib import Path

import pytest

from tools import plant, unplug, variant
from tools.registrations import REGISTRATIONS
from tools.violations import Violation

FULLEST = pytest.mark.parametrize("name", variant.ends()[1::2], indirect=True)


def test_every_module_has_registrations_and_nothing_else_has() -> None:
    assert {each.rule for each in REGISTRATIONS} == set(variant.modules())


@FULLEST
@pytest.mark.parametrize("each", REGISTRATIONS, ids=lambda each: f"{each.rule}: {each.what}")
def test_a_registration_can_be_taken_out_and_has_tests(
    project: Path, each: Violation, tmp_path: Path
) -> None:
    check = plant.parsed(each.held_by)
    assert check.kind == "test"
    assert (project / check.name).exists()
    (edit,) = each.edits
    assert len(edit.put) < len(edit.find)
    (tmp_path / edit.file).parent.mkdir(parents=True)
    shutil.copy(project / edit.file, tmp_path / edit.file)
    with plant.planted(each, tmp_path):
        text = (tmp_path / edit.file).read_text(encoding="utf-8")
        assert edit.find not in text
        compile(text, edit.file, "exec", dont_inherit=True)


@FULLEST
def test_every_feature_of_a_module_can_be_taken_out(project: Path) -> None:
    text = (project / "src/app/api/v1/router.py").read_text(encoding="utf-8")
    features = text.split("FEATURES = (")[1].split(")")[0].split()
    ours = {"auth,", "api_keys,", "users,", "items,"}
    routers = [each for each in REGISTRATIONS if each.what == "its router"]
    assert len(set(features) - ours) == len(routers)


@pytest.mark.parametrize(
    "output",
    [
        "1 failed in 2.10s",
        "2 errors in 0.3s",
        "ImportError while loading conftest '/p'.",
    ],
)
def test_tests_that_fail_or_cannot_begin_have_noticed(output: str) -> None:
    assert unplug.shows(output)


@pytest.mark.parametrize("output", ["12 passed in 2.1s", "ERROR: file or directory not found: x"])
def test_tests_that_pass_or_are_not_there_have_not(output: str) -> None:
    assert not unplug.shows(output)
