"""Generated projects in git, for commands to change."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner, Result

from fastapi_senior import cli
from fastapi_senior.errors import Refused

_GIT = (
    "git",
    "-c",
    "user.name=Ada",
    "-c",
    "user.email=ada@example.com",
    "-c",
    "core.excludesFile=",
)


def git(project: Path, *arguments: str) -> str:
    """Run git in a project and return its output."""
    done = subprocess.run(
        (*_GIT, *arguments), cwd=project, capture_output=True, text=True, check=True
    )
    return done.stdout


def commit(project: Path) -> None:
    """Commit everything in a project."""
    if not (project / ".git").exists():
        git(project, "init", "--quiet")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--allow-empty", "--message", "Change")


def copied(project: Path, place: Path) -> Path:
    """Copy a project to a new place."""
    shutil.copytree(project, place)
    return place


def without_example(project: Path) -> Path:
    """Remove the example by the project's own script."""
    command = (sys.executable, "scripts/remove_example.py", "--force")
    subprocess.run(command, cwd=project, check=True, stdout=subprocess.DEVNULL)
    return project


def contents(project: Path) -> dict[str, bytes]:
    """Return the files of a project, by path."""
    return {
        path.relative_to(project).as_posix(): path.read_bytes()
        for path in project.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(project).parts
    }


def run(project: Path, *arguments: str) -> Result:
    """Run `fastapi-senior` in a project."""
    before = Path.cwd()
    os.chdir(project)
    try:
        return CliRunner().invoke(cli.app, arguments, catch_exceptions=True, color=False)
    finally:
        os.chdir(before)


def done(project: Path, *arguments: str) -> str:
    """Run a command that succeeds; return its output."""
    result = run(project, *arguments)
    if result.exception is not None:
        raise result.exception
    return result.output


def refused(project: Path, *arguments: str) -> str:
    """Run a command that is refused and changes nothing; return the sentence."""
    before = contents(project)
    result = run(project, *arguments)
    assert isinstance(result.exception, Refused), result.output
    assert contents(project) == before
    assert result.stdout == ""
    return str(result.exception)
