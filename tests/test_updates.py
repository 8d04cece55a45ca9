"""Projects update from the template and change answers with cruft, and keep their changes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import manifest
from tools.variant import copy_template

TREE = "{{cookiecutter.project_slug}}"


@pytest.fixture
def run(tmp_path: Path) -> "Runner":
    return Runner(tmp_path)


class Runner:
    """Runs programs without the user's configuration of git and cookiecutter."""

    def __init__(self, home: Path) -> None:
        (home / "config.yaml").write_text(
            f"cookiecutters_dir: {home / 'cache'}\nreplay_dir: {home / 'replay'}\n",
            encoding="utf-8",
        )
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "COOKIECUTTER_CONFIG": str(home / "config.yaml"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "Me",
            "GIT_AUTHOR_EMAIL": "me@example.com",
            "GIT_COMMITTER_NAME": "Me",
            "GIT_COMMITTER_EMAIL": "me@example.com",
        }

    def __call__(self, cwd: Path, *command: str) -> str:
        done = subprocess.run(
            command, cwd=cwd, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def commit(self, folder: Path) -> None:
        self(folder, "git", "add", "--all")
        self(folder, "git", "commit", "--quiet", "--message", "x")

    def cruft(self, cwd: Path, *arguments: str) -> str:
        return self(cwd, sys.executable, "-m", "cruft", *arguments)


@pytest.fixture
def template(tmp_path: Path, run: Runner) -> Path:
    """A copy of the template in a repository with one commit."""
    copy = copy_template(tmp_path / "template")
    run(copy, "git", "init", "--quiet")
    run.commit(copy)
    return copy


@pytest.fixture
def project(tmp_path: Path, template: Path, run: Runner) -> Path:
    """A project of the first commit, with changes of its own."""
    run.cruft(tmp_path, "create", str(template), "--no-input")
    folder = tmp_path / "my-service"
    run(folder, "git", "init", "--quiet")
    edited = folder / "src/app/main.py"
    edited.write_text(edited.read_text(encoding="utf-8") + "\nMINE = True\n", encoding="utf-8")
    (folder / "src/app/services/mine.py").write_text('"""Mine."""\n', encoding="utf-8")
    (folder / "docs/adr/0001-layers.md").unlink(missing_ok=True)
    run.commit(folder)
    return folder


def _contents(folder: Path) -> dict[str, bytes]:
    names = {path for path in manifest.files(folder) if not path.startswith(".git/")}
    return {path: (folder / path).read_bytes() for path in names - {".cruft.json"}}


def _assert_no_conflict(folder: Path, run: Runner) -> None:
    assert [path for path in manifest.files(folder) if path.endswith((".rej", ".orig"))] == []
    assert run(folder, "git", "ls-files", "--unmerged") == ""


def test_an_update_applies_changes_and_keeps_yours(
    template: Path, project: Path, run: Runner
) -> None:
    changed = template / TREE / "src/app/main.py"
    text = changed.read_text(encoding="utf-8")
    changed.write_text(text.replace('"""', '"""Updated. ', 1), encoding="utf-8")
    (template / TREE / "src/app/added.py").write_text('"""Added."""\n', encoding="utf-8")
    (template / TREE / ".editorconfig").unlink()
    run.commit(template)

    assert "has been updated" in run.cruft(project, "update", "--skip-apply-ask")

    _assert_no_conflict(project, run)
    main = (project / "src/app/main.py").read_text(encoding="utf-8")
    assert main.startswith('"""Updated. ')
    assert main.endswith("\nMINE = True\n")
    assert (project / "src/app/services/mine.py").exists()
    assert (project / "src/app/added.py").exists()
    assert not (project / ".editorconfig").exists()
    assert not (project / manifest.NAME).exists()
    assert "up to date" in run.cruft(project, "check")


@pytest.mark.parametrize(
    ("there", "back"),
    [
        ({"database": "sqlite"}, {"database": manifest.DEFAULTS["database"]}),
        (
            {"ci": "gitlab", "license": "BSD-3-Clause"},
            {key: manifest.DEFAULTS[key] for key in ("ci", "license")},
        ),
        ({"project_name": 'A "new" name'}, {"project_name": manifest.DEFAULTS["project_name"]}),
        (
            {"use_redis": True, "use_arq": True, "use_websockets": True, "use_s3": True},
            {"use_redis": False, "use_arq": False, "use_websockets": False, "use_s3": False},
        ),
    ],
    ids=["database", "ci-and-licence", "name", "modules"],
)
def test_answers_can_be_changed_and_changed_back(
    tmp_path: Path,
    template: Path,
    project: Path,
    run: Runner,
    there: dict[str, str | bool],
    back: dict[str, str | bool],
) -> None:
    before = _contents(project)
    run.cruft(project, "update", "--skip-apply-ask", "--variables-to-update", json.dumps(there))
    _assert_no_conflict(project, run)

    fresh = tmp_path / "fresh"
    fresh.mkdir()
    slug: dict[str, str | bool] = {"project_slug": "my-service"}
    run.cruft(
        fresh, "create", str(template), "--no-input", "--extra-context", json.dumps(there | slug)
    )
    own = {"src/app/main.py", "src/app/services/mine.py", "docs/adr/0001-layers.md"}
    changed, wanted = _contents(project), _contents(fresh / "my-service")
    assert {path: text for path, text in changed.items() if path not in own} == {
        path: text for path, text in wanted.items() if path not in own
    }
    assert changed["src/app/main.py"].endswith(b"\nMINE = True\n")
    run.commit(project)

    run.cruft(project, "update", "--skip-apply-ask", "--variables-to-update", json.dumps(back))
    _assert_no_conflict(project, run)
    assert _contents(project) == before
