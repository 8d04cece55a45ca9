"""The tool that tox, CI and people share."""

import json
import time
from pathlib import Path

import pytest

from tools import variant
from tools.variant import ROOT


def test_a_name_stands_for_its_answers() -> None:
    assert variant.answers("sqlite-py313-lowest")["database"] == "sqlite"
    assert variant.answers("postgresql")["project_slug"] == variant.SLUG


def test_every_name_is_listed_once_and_understood() -> None:
    names = list(variant.names())
    assert names[: len(set(names))] == names
    assert {variant.answers(name)["database"] for name in names} == set(variant.databases())


@pytest.mark.parametrize("name", ["oracle", "sqlite-nothing", "py311", ""])
def test_an_unknown_name_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(SystemExit, match=r"no such variant\. There are: postgresql, sqlite"):
        variant.answers(name)


def test_jobs_need_their_server() -> None:
    assert not variant.allowed(["arq"])
    assert variant.allowed(["redis", "arq"])


def test_the_environment_of_a_check_has_nothing_of_the_one_around(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("APP_SERVER__PORT", "VIRTUAL_ENV", "PYTEST_ADDOPTS", "COVERAGE_PROCESS_START"):
        monkeypatch.setenv(name, "x")
    found = variant.environment("sqlite", "python-here")
    assert not {"APP_SERVER__PORT", "VIRTUAL_ENV", "PYTEST_ADDOPTS"} & set(found)
    assert "COVERAGE_PROCESS_START" not in found
    assert found["UV_PYTHON"] == "python-here"
    assert found["UV_PYTHON_DOWNLOADS"] == "never"


def test_the_oldest_dependencies_are_asked_for_by_name() -> None:
    assert variant.environment("sqlite-lowest", "python")["UV_RESOLUTION"] == "lowest-direct"


def test_the_report_is_a_table(tmp_path: Path) -> None:
    good = variant.Outcome("sqlite", "3.11.7", True, "310", "97 %", "SQLite 3.40", 61)
    bad = variant.Outcome("postgresql", "3.11.7", False, "-", "-", "-", 9)
    for outcome in (good, bad):
        content = {name: getattr(outcome, name) for name in outcome.__slots__}
        (tmp_path / f"{outcome.variant}.json").write_text(json.dumps(content), encoding="utf-8")
    outcomes = variant.outcomes_in(tmp_path)
    lines = variant.table(outcomes).splitlines()
    assert lines[0].split() == [
        "variant",
        "python",
        "ok",
        "tests",
        "coverage",
        "servers",
        "seconds",
    ]
    assert lines[1].split() == ["postgresql", "3.11.7", "NO", "-", "-", "-", "9"]
    assert lines[2].startswith("sqlite      3.11.7  yes  310    97 %      SQLite 3.40")
    assert lines[3] == "1 passed, 1 failed"
    assert variant.main(["report", str(tmp_path)]) == 1
    assert variant.outcomes_in(tmp_path, since=time.time() + 60) == []


def test_tox_has_an_environment_for_every_variant() -> None:
    text = (ROOT / "tox.ini").read_text(encoding="utf-8")
    for name in variant.names():
        assert all(part in text for part in name.split("-"))
