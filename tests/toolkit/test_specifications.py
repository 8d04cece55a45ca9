"""Whatever is asked for can be added, is lint-free, and goes again."""

import shlex
import subprocess
from pathlib import Path

import pytest
import ruff

from tests.toolkit.projects import commit, contents, done
from tests.toolkit.specifications import PROJECTS
from tools import variant


@pytest.mark.parametrize("name", PROJECTS)
def test_resources_come_lint_free_and_go(name: str, tmp_path: Path) -> None:
    project = variant.generate("sqlite", tmp_path)
    commit(project)
    before = contents(project)
    for line in PROJECTS[name]:
        done(project, "resource", *shlex.split(line))
        commit(project)
    for command in ("check", "format --check"):
        checked = subprocess.run(
            [ruff.find_ruff_bin(), *command.split(), "--no-cache", "."],
            cwd=project,
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 0, checked.stdout
    for line in reversed(PROJECTS[name]):
        done(project, "resource", "remove", shlex.split(line)[0])
        commit(project)
    assert contents(project) == before
