"""A fork can change its author, the order of licences, a default, and add a module."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tools.variant import ROOT, copy_template

TREE = "{{cookiecutter.project_slug}}"
TESTED = [
    "tests/test_hooks.py",
    "tests/test_odd_answers.py::test_the_package_is_built_with_its_words_and_without_development",
    "tests/test_tree.py",
    "tests/test_variants.py::test_names_the_licence_that_was_chosen",
]


@pytest.fixture
def fork(tmp_path: Path) -> Path:
    """A copy of the template with its tests."""
    copy = copy_template(tmp_path / "fork")
    for name in ("tests", "tools", "pyproject.toml", "tox.ini"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy)
    subprocess.run(["git", "init", "--quiet"], cwd=copy, check=True)
    return copy


def _answers(fork: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((fork / "cookiecutter.json").read_text(encoding="utf-8"))
    return content


def _check(fork: Path, *more: str) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"),
            *("-k", "not type_error", *TESTED, *more),
        ],
        cwd=fork,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_changes_its_author_licences_and_defaults(fork: Path) -> None:
    content = _answers(fork)
    content["author_name"] = "A Company"
    content["author_email"] = "team@company.example"
    content["license"] = ["Proprietary", "MIT", "BSD-3-Clause", "Apache-2.0"]
    content["database"] = ["sqlite", "postgresql"]
    content["ci"] = ["none", "github", "gitlab"]
    (fork / "cookiecutter.json").write_text(json.dumps(content, indent=2), encoding="utf-8")
    _check(fork)


def test_adds_a_module_by_the_steps_of_the_guide(fork: Path) -> None:
    """The steps of docs/modules.md, in their order."""
    content = _answers(fork)
    questions = list(content)
    place = questions.index("use_s3") + 1
    added = {**{key: content[key] for key in questions[:place]}, "use_sentry": False}
    content = added | content
    content["__prompts__"]["use_sentry"] = "Sentry: error reports"
    (fork / "cookiecutter.json").write_text(json.dumps(content, indent=2), encoding="utf-8")

    tree = fork / TREE
    settings = tree / "src/app/core/config/sentry.py"
    settings.write_text(
        '"""Settings of error reports."""\n\n'
        "from app.core.config.base import SettingsGroup\n\n\n"
        "class SentrySettings(SettingsGroup):\n"
        '    """Error reports."""\n\n'
        '    dsn: str = ""\n',
        encoding="utf-8",
    )
    _insert(
        tree / "pyproject.toml",
        '    "alembic',
        '    # {% if cookiecutter.use_sentry %}\n    "sentry-sdk>=2,<3",\n    # {% endif %}\n',
    )
    _insert(
        tree / ".template.toml",
        "[answers.ci.github]",
        "[answers.use_sentry.true]\n"
        'only = ["src/app/core/config/sentry.py"]\n'
        'words = ["sentry"]\n\n',
    )
    config = tree / "src/app/config.py"
    _insert(
        config,
        "# {%- if cookiecutter.use_s3 or",
        "# {%- if cookiecutter.use_sentry +%}\n"
        "from app.core.config.sentry import SentrySettings\n\n"
        "# {%- endif +%}\n",
    )
    _insert(
        config,
        "    # {% if cookiecutter.use_s3 or",
        "    # {% if cookiecutter.use_sentry %}\n"
        "    sentry: SentrySettings = SentrySettings()\n"
        "    # {% endif %}\n",
    )
    _insert(fork / "hooks/pre_gen_project.py", "s3transfer ", "sentry-sdk ")
    every = "tests/test_variants.py::test_{}[sqlite{}]"
    _check(
        fork,
        *(
            every.format(test, variant)
            for test in ("has_exactly_the_files_that_the_manifest_grants", "has_no_lint_as_written")
            for variant in ("", "-sentry")
        ),
        every.format("says_no_word_of_what_it_lacks", ""),
    )


def _insert(path: Path, before: str, text: str) -> None:
    content = path.read_text(encoding="utf-8")
    assert content.count(before) >= 1
    path.write_text(content.replace(before, text + before, 1), encoding="utf-8")
