"""Tests of `tools/variant.py`."""

import configparser
import itertools
import json
import os
import re
import time
from pathlib import Path

import pytest

from tools import variant
from tools.variant import ROOT


def test_a_name_maps_to_answers() -> None:
    assert variant.answers("sqlite-py313-lowest")["database"] == "sqlite"
    assert variant.answers("postgresql")["project_slug"] == variant.SLUG


def test_every_name_is_listed_once_and_valid() -> None:
    names = list(variant.names())
    assert names[: len(set(names))] == names
    assert {variant.answers(name)["database"] for name in names} == set(variant.databases())


@pytest.mark.parametrize("name", ["oracle", "sqlite-nothing", "py311", ""])
def test_an_unknown_name_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(SystemExit, match=r"no such variant\. There are: postgresql, .*, sqlite"):
        variant.answers(name)


def test_jobs_need_redis() -> None:
    assert not variant.allowed(["arq"])
    assert variant.allowed(["redis", "arq"])


def test_the_environment_of_a_check_is_isolated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("APP_SERVER__PORT", "VIRTUAL_ENV", "PYTEST_ADDOPTS", "COVERAGE_PROCESS_START"):
        monkeypatch.setenv(name, "x")
    found = variant.environment("sqlite", "python-here")
    assert not {"APP_SERVER__PORT", "VIRTUAL_ENV"} & set(found)
    assert found["PYTEST_ADDOPTS"] == variant.TEST_OPTIONS
    assert "COVERAGE_PROCESS_START" not in found
    assert found["UV_PYTHON"] == "python-here"
    assert found["UV_PYTHON_DOWNLOADS"] == "never"


def test_the_oldest_dependencies_are_a_factor() -> None:
    assert variant.environment("sqlite-lowest", "python")["UV_RESOLUTION"] == "lowest-direct"


@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("sqlite", ("check",)),
        ("postgresql-redis-arq-websockets-s3-removed", ("check",)),
        ("sqlite-redis", variant.UNMEASURED),
        ("sqlite-py312", variant.UNMEASURED),
    ],
)
def test_coverage_is_measured_at_both_ends(name: str, targets: tuple[str, ...]) -> None:
    assert variant.targets(name) == targets


def test_a_factor_runs_the_tests_in_parallel() -> None:
    assert "PYTEST_ADDOPTS" in variant.environment("sqlite", "python")
    assert "PYTEST_ADDOPTS" not in variant.environment("sqlite-py312", "python")


def test_concurrent_checks_have_separate_slots(tmp_path: Path) -> None:
    with variant.slot(tmp_path, "cpython-311") as one, variant.slot(tmp_path, "cpython-311") as two:
        assert one != two
    with variant.slot(tmp_path, "cpython-311") as again:
        assert again == one
    with variant.slot(tmp_path, "cpython-312") as other:
        assert other not in {one, two}


def test_a_slot_keeps_its_caches_for_the_next_variant(tmp_path: Path) -> None:
    before = {"same.py": "1", "changed.py": "1", "gone/gone.py": "1", "gone/__pycache__/x": "1"}
    before |= {".git/config": "1", ".venv/bin/python": "1", "__pycache__/same.pyc": "1"}
    project = _tree(tmp_path / "project", before)
    written = (project / "same.py").stat().st_mtime_ns
    after = {"same.py": "1", "changed.py": "2", "new/new.py": "1"}

    variant.renew(project, _tree(tmp_path / "generated", after))

    kept = {path: before[path] for path in before if path.startswith((".", "__pycache__"))}
    assert {
        path.relative_to(project).as_posix(): path.read_text(encoding="utf-8")
        for path in project.rglob("*")
        if path.is_file()
    } == after | kept
    assert (project / "same.py").stat().st_mtime_ns == written
    assert not (project / "gone").exists()


def _tree(folder: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(("code", "ok"), [(0, True), (3, False)])
def test_the_output_of_a_check_is_stored_and_printed_on_failure(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    code: int,
    ok: bool,
) -> None:
    makefile = f"check:\n\t@echo databases: SQLite 3.40; echo 12 passed in 1s; exit {code}\n"
    project = _tree(tmp_path, {"project/Makefile": makefile, "bin/uv": "#!/bin/sh\n"}) / "project"
    (tmp_path / "bin" / "uv").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(variant, "_project_in", lambda _, __: project)

    results = tmp_path / "results"
    assert variant.check("sqlite", tmp_path / "checks", results) is ok

    shown = capsys.readouterr().out
    assert "12 passed in 1s" in (results / "sqlite.log").read_text(encoding="utf-8")
    assert ("12 passed in 1s" in shown) is not ok
    (outcome,) = variant.outcomes_in(results)
    assert (outcome.ok, outcome.tests, outcome.servers) == (ok, "12", "SQLite 3.40")


def test_the_report_is_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
    (tmp_path / "postgresql.log").write_text("FAILED a.py::test_b\nmake: ***\n", encoding="utf-8")
    assert variant.main(["report", str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    assert shown.endswith(f"\n\n{tmp_path / 'postgresql.log'}:\nFAILED a.py::test_b\n")
    assert variant.outcomes_in(tmp_path, since=time.time() + 60) == []


def test_the_table_names_all_servers_of_a_run() -> None:
    output = "databases: PostgreSQL 16.2\nservers: Valkey 9.1\nservers: MinIO\nservers: MinIO\n"
    assert variant.servers_in(output) == "PostgreSQL 16.2; Valkey 9.1; MinIO"
    assert variant.servers_in("") == "-"


def test_reasons_are_the_failures_of_pytest_or_the_last_lines() -> None:
    reasons = "___ Test.test_a ___\nE   assert 1 == 2\nFAILED a.py::test_a"
    assert variant.reasons_in(f"a.py F\n{reasons}\nmake: ***\n") == reasons
    lines = [str(number) for number in range(100)]
    assert variant.reasons_in("\n".join(lines)).splitlines() == lines[40:]
    assert variant.reasons_in("") == ""


def test_tox_has_an_environment_for_every_variant() -> None:
    options = configparser.ConfigParser(interpolation=None)
    options.read(ROOT / "tox.ini", encoding="utf-8")
    written = options["tox"]["env_list"].split()
    fullest = variant.ends()[1]
    assert [name for line in written for name in _unfolded(line)] == [
        f"{fullest}-removed",
        f"{fullest}-py313",
        "template",
        "toolkit",
        *sorted(variant.names(), key=_as_written),
        "report",
    ]


def _unfolded(text: str) -> list[str]:
    """Expand `{a,b}{,-c}`."""
    parts = re.findall(r"\{([^}]*)\}|([^{}]+)", text)
    choices = [group.split(",") if group or not plain else [plain] for group, plain in parts]
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def _as_written(name: str) -> tuple[bool, ...]:
    parts = name.split("-")
    return ("sqlite" in parts, *(module in parts for module in variant.modules()))
