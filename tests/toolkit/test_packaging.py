"""The program runs from a clone and from its wheel, which carries the template."""

import os
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path
from shutil import copy2, which

import pytest

from tools import variant
from tools.variant import ROOT

TREE = "{{cookiecutter.project_slug}}"
LATE = {"cookiecutter", "inflect", "jinja2", "libcst", "ruff", "yaml"}


def run(*command: str, cwd: Path, python: str = sys.executable) -> str:
    clean = {
        k: v for k, v in os.environ.items() if not k.startswith(("COV", "PYTEST", "PYTHONPATH"))
    }
    done = subprocess.run(
        command,
        cwd=cwd,
        env=clean | {"UV_PYTHON": python, "UV_PYTHON_DOWNLOADS": "never"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with leftovers of tools in the template."""
    listed = run("git", "ls-files", "-z", "-co", "--exclude-standard", cwd=ROOT)
    copy = tmp_path / "clone"
    for path in filter(None, listed.split("\0")):
        if (ROOT / path).is_file():
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            copy2(ROOT / path, copy / path)
    for path in ("hooks/__pycache__/a.pyc", f"{TREE}/.venv/bin/a", f"{TREE}/src/__pycache__/a.pyc"):
        (copy / path).parent.mkdir(parents=True)
        (copy / path).write_text("left over", encoding="utf-8")
    (copy / TREE / "uv.lock").write_text("left over", encoding="utf-8")
    return copy


def test_runs_by_uvx_from_a_clone_and_from_its_wheel(clone: Path, tmp_path: Path) -> None:
    """One test, because building and installing take most of its half a minute."""
    uv = which("uv", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
    assert uv is not None
    uvx = (uv, "tool", "run", "--from")
    assert "resource" in run(*uvx, ".", "fastapi-senior", "--help", cwd=clone)

    run(uv, "build", "--wheel", "--out-dir", str(tmp_path / "dist"), cwd=clone)
    [wheel] = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    parts = run("git", "ls-files", "-co", "--exclude-standard", "-z", cwd=ROOT).split("\0")
    template = {p for p in parts if p.startswith((f"{TREE}/", "hooks/", "cookiecutter.json"))}
    template = {path for path in template if (ROOT / path).is_file()}
    prefix = "fastapi_senior/template/"
    assert {p.removeprefix(prefix) for p in packed if p.startswith(prefix)} == template
    assert any("/.github/" in path for path in template)
    code = {p.removeprefix("src/") for p in parts if p.startswith("src/") and (ROOT / p).is_file()}
    assert {path for path in packed if not path.startswith((prefix, "fastapi_senior-"))} == code

    program = (*uvx, str(wheel), "fastapi-senior")
    run(*program, "init", "demo_service", "--db=postgres", "--files=s3", cwd=tmp_path)
    expected = variant.generate("postgresql-s3", tmp_path / "expected")
    project = tmp_path / "demo_service"
    assert _contents(project) == _contents(expected)
    run("git", "init", "--quiet", cwd=project)
    assert "+class Note(" in run(*program, "resource", "notes", "title", "--dry-run", cwd=project)


def _contents(folder: Path) -> dict[Path, tuple[bytes, int]]:
    return {
        path.relative_to(folder): (path.read_bytes(), path.stat().st_mode & 0o111)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_help_imports_no_library_of_a_command(tmp_path: Path) -> None:
    """Importing them takes seconds."""
    program = (
        "import sys\n"
        "from fastapi_senior import cli\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    print(*sys.modules)\n"
    )
    for arguments in (
        ["--help"],
        ["init", "--help"],
        ["resource", "--help"],
        ["endpoint", "--help"],
    ):
        output = run(sys.executable, "-c", program, *arguments, cwd=tmp_path)
        assert "Usage" in output
        assert not LATE & set(output.split())


def test_projects_name_the_version_of_the_package() -> None:
    own = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    tree = tomllib.loads((ROOT / TREE / "pyproject.toml").read_text(encoding="utf-8"))
    assert tree["tool"]["fastapi-senior"]["version"] == own["project"]["version"]
    assert own["project"]["version"] == version("fastapi-senior")
