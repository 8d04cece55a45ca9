"""Every variant has the files of the manifest and is formatted and lint-free."""

import json
import re
import subprocess
import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import pytest
import yaml

from tests import manifest
from tests.conftest import Bake
from tools import variant

TRACES = re.compile(r"cookiecutter|(?<!\$)\{\{|\{%|%\}|\{#|\.template\.toml")


def _texts(project: Path) -> dict[str, str]:
    return {
        path: (project / path).read_text(encoding="utf-8")
        for path in sorted(manifest.files(project))
    }


def _foreign_words(project: Path, answers: Mapping[str, object]) -> list[str]:
    """Files that may have words of other answers."""
    foreign = re.compile("|".join(sorted(manifest.foreign_words(answers))))
    return [
        f"{path}: {found[0]}"
        for path, text in _texts(project).items()
        if (found := foreign.search(f"{path}\n{text}".lower()))
    ]


@cache
def _parse(suffix: str, text: str) -> None:
    """Parse a file by its type; cached, since most are equal in most variants."""
    parsers: dict[str, Callable[[str], object]] = {
        ".json": json.loads,
        ".toml": tomllib.loads,
        ".yaml": lambda text: list(yaml.safe_load_all(text)),
        ".yml": lambda text: list(yaml.safe_load_all(text)),
        ".py": lambda text: compile(text, "", "exec", dont_inherit=True),
    }
    if suffix in parsers:
        parsers[suffix](text)


def _other_answers() -> list[dict[str, str]]:
    """Return answers with each other value of each other question, per database."""
    return [
        {"database": database, question: value}
        for question, values in variant.questions().items()
        if isinstance(values, list) and question != "database"
        for value in values[1:]
        for database in variant.databases()
    ]


def test_has_exactly_the_files_of_the_manifest(
    project: Path, answers: Mapping[str, object], template: Path
) -> None:
    assert manifest.files(project) == manifest.expected_files(
        manifest.DEFAULTS | dict(answers), template / manifest.TREE.name
    )


def test_leaves_no_empty_folder(project: Path) -> None:
    assert [path for path in project.rglob("*") if path.is_dir() and not any(path.iterdir())] == []


def test_the_readme_lists_every_directory(project: Path) -> None:
    told = (project / "AGENTS.md").read_text(encoding="utf-8")
    there = {path.name for path in (project / "src/app").iterdir()} - {"__init__.py"}
    assert {name for name in there if not re.search(rf"[ /]{re.escape(name)}[ /]", told)} == set()


def test_the_readme_lists_every_command(project: Path) -> None:
    told = (project / "README.md").read_text(encoding="utf-8")
    program = (project / "src/app/cli/__init__.py").read_text(encoding="utf-8")
    groups = re.findall(r'^app\.add_typer\(.*name="([\w-]+)"\)$', program, re.MULTILINE)
    names = re.findall(r"^app\.command\(\)\(\w+\.(\w+)\)$", program, re.MULTILINE)
    commands = {*groups, *(name.replace("_", "-") for name in names)}
    assert {"dev", "serve"} <= commands
    assert commands - set(re.findall(r"^\| `uv run app ([\w-]+)", told, re.MULTILINE)) == set()


def test_variant_files_replace_their_originals(
    project: Path, answers: Mapping[str, object], template: Path
) -> None:
    for rule in manifest.rules():
        for path, other in rule.replace.items():
            if rule.question not in answers or not (project / path).exists():
                continue
            source = template / manifest.TREE.name / (other if rule.chosen(answers) else path)
            text = source.read_text(encoding="utf-8")
            expected = text.replace("{{ cookiecutter.project_slug }}", variant.SLUG)
            assert (project / path).read_text(encoding="utf-8") == expected, path


def _is_left_out(path: str, answers: Mapping[str, object]) -> bool:
    return any(
        path in together["remove"]
        for together in manifest.unless()
        if all(answers[question] == value for question, value in together["answers"].items())
    )


def test_shows_no_trace_of_the_template(project: Path) -> None:
    traces = {
        f"{path}:{number}": line.strip()
        for path, text in _texts(project).items()
        for number, line in enumerate(text.splitlines(), start=1)
        if TRACES.search(line)
    }
    assert traces == {}


def test_has_no_word_of_other_answers(project: Path, answers: Mapping[str, object]) -> None:
    assert _foreign_words(project, manifest.DEFAULTS | dict(answers)) == []


@pytest.mark.parametrize("other", _other_answers(), ids=lambda other: "-".join(other.values()))
def test_every_answer_has_its_files_and_words(
    bake: Bake, template: Path, other: dict[str, str]
) -> None:
    project = bake(other)
    answers = manifest.DEFAULTS | other
    assert manifest.files(project) == manifest.expected_files(
        answers, template / manifest.TREE.name
    )
    assert _foreign_words(project, answers) == []


def test_has_the_chosen_licence(bake_values: Bake) -> None:
    author = manifest.DEFAULTS["author_name"]
    openings = {
        "MIT": "MIT License",
        "Apache-2.0": "Apache License",
        "BSD-3-Clause": "BSD 3-Clause License",
        "Proprietary": f"Copyright (c) {author}. All rights reserved.",
    }
    licences = variant.questions()["license"]
    assert isinstance(licences, list)
    assert set(licences) == set(openings)
    for licence, opening in openings.items():
        project = bake_values({"database": "sqlite", "license": licence})
        text = (project / "LICENSE").read_text(encoding="utf-8")
        assert text.strip().startswith(opening)
        assert author in text
        metadata = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
        expected = "LicenseRef-Proprietary" if licence == "Proprietary" else licence
        assert metadata["project"]["license"] == expected


def test_is_formatted_as_written(project: Path) -> None:
    done = subprocess.run(
        ["ruff", "format", "--no-cache", "--diff", "."],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_has_no_lint_as_written(project: Path) -> None:
    done = subprocess.run(
        ["ruff", "check", "--no-cache", "--output-format=concise", "."],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("slug", ["a", "a" * 24 + "-" + "b" * 25])
def test_is_formatted_with_the_shortest_and_the_longest_slug(bake: Bake, slug: str) -> None:
    for database in variant.databases():
        project = bake({"database": database, "project_slug": slug})
        done = subprocess.run(
            ["ruff", "format", "--no-cache", "--diff", "."],
            cwd=project,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        lint = ["ruff", "check", "--no-cache", "--output-format=concise", "."]
        done = subprocess.run(lint, cwd=project, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_parses(project: Path) -> None:
    for path, text in _texts(project).items():
        _parse(Path(path).suffix, text)


def test_lines_end_without_white_space(project: Path) -> None:
    for path, text in _texts(project).items():
        assert "\r" not in text, path
        assert not text or text.endswith("\n"), path
        assert not text.endswith("\n\n"), path
        assert not re.search(r"[ \t]$", text, re.MULTILINE), path
        assert not re.search(r"\n{4}", text), path


@pytest.mark.parametrize("name", variant.ends())
def test_the_same_answers_give_the_same_tree_twice(bake: Bake, name: str) -> None:
    answers = variant.answers(name)
    # Another order of the same answers is another call, not another project.
    once, again = bake(answers), bake(dict(reversed(answers.items())))
    assert once != again
    assert _texts(once) == _texts(again)
    modes = [
        {path: (project / path).stat().st_mode for path in manifest.files(project)}
        for project in (once, again)
    ]
    assert modes[0] == modes[1]


def test_has_one_database_driver(project: Path, answers: Mapping[str, object]) -> None:
    metadata = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = {requirement.split(">=")[0] for requirement in metadata["project"]["dependencies"]}
    drivers = {"postgresql": "asyncpg", "sqlite": "aiosqlite"}
    assert wanted & set(drivers.values()) == {drivers[str(answers["database"])]}


def test_has_no_lock_file_yet(project: Path) -> None:
    assert not (project / "uv.lock").exists()
