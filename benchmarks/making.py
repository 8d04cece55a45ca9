"""Generated projects with their environments, of the template's default Python."""

import json
import subprocess
import tempfile
from pathlib import Path

from benchmarks.servers import ROOT, Project
from tools import variant

FOLDER = ROOT / "build/benchmarks"


def make(name: str, python: str | None = None) -> Project:
    """Generate a variant, or renew it, with an environment, compiled as in its image."""
    project = Project(name, FOLDER / name / variant.SLUG)
    project.directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as fresh:
        variant.renew(project.directory, variant.generate(name, Path(fresh)))
    (project.directory / "uv.lock").unlink(missing_ok=True)
    subprocess.run(
        ["uv", "sync", "--quiet", "--compile-bytecode"],
        cwd=project.directory,
        env=variant.environment(name, python or default_python()),
        check=True,
    )
    sources = (project.directory / "src", ROOT / "benchmarks")
    subprocess.run([project.program("python"), "-m", "compileall", "-q", *sources], check=True)
    return project


def default_python() -> str:
    """Return the version of Python that the template suggests."""
    answers = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
    version: str = answers["python_version"][0]
    return version
