"""Generated projects, their environments, and the servers that they stand on."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.serving import App
from tools import variant

ROOT = Path(__file__).resolve().parents[1]

_OWN_PYTHON = ".venv/bin/python"

MANY = "1000000000/minute"
"""Limits that are counted and never reached."""


@dataclass(frozen=True, slots=True)
class Project:
    """A generated project with an environment to run it in.

    Attributes:
        name: The variant.
        directory: Where it is.
        python: The interpreter with its dependencies.
        seconds: What making it took, by step.
    """

    name: str
    directory: Path
    python: Path
    seconds: dict[str, float]

    @property
    def has_own_environment(self) -> bool:
        """Whether its environment was made for it."""
        return self.python == self.directory / _OWN_PYTHON


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What stands behind the apps.

    Attributes:
        environment: The settings that say where.
        sources: What it is, in words for people.
        facts: What stands in the database: users, tokens, items.
    """

    environment: dict[str, str]
    sources: list[str]
    facts: dict[str, Any]


def make(name: str, folder: Path, python: Path | None = None) -> Project:
    """Generate a variant, make its environment, and compile all of it, as its image does.

    Args:
        name: The variant.
        folder: Where to put it.
        python: An interpreter that has its dependencies already; none is made then.
    """
    seconds: dict[str, float] = {}
    started = time.perf_counter()
    directory = variant.generate(name, folder)
    seconds["generate"] = time.perf_counter() - started
    if python is None:
        python = directory / _OWN_PYTHON
        sync(directory, name, "--compile-bytecode")
    sources = (directory / "src", ROOT / "benchmarks/inside")
    subprocess.run([python, "-m", "compileall", "-q", *sources], check=True)
    return Project(name, directory, python, seconds)


def sync(directory: Path, name: str, *options: str) -> None:
    """Make the environment of a project, of this interpreter."""
    subprocess.run(
        ["uv", "sync", "--quiet", *options],
        cwd=directory,
        env=variant.environment(name, sys.executable),
        check=True,
    )


@contextmanager
def surroundings(project: Project, *, items: int, export: int) -> Iterator[Surroundings]:
    """Start what a project stands on and fill its database, while the block runs.

    Args:
        project: Whose development servers to use.
        items: Rows of the user whose lists are read.
        export: Rows of the user whose items are exported.
    """
    module = ["-m", "benchmarks.inside.backing"]
    numbers = ["--items", str(items), "--export", str(export)]
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as data,
        subprocess.Popen(
            [project.python, *module, data, *numbers],
            cwd=project.directory,
            env=base_environment(project),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{project.name} has nothing to stand on; see above")
        yield Surroundings(**json.loads(line))
        process.stdin.close()
        process.wait()


def base_environment(project: Project) -> dict[str, str]:
    """Return the environment that everything of a project runs in."""
    kept = ("PATH", "HOME", "TMPDIR")
    inherited = {name: os.environ[name] for name in kept if name in os.environ}
    paths = os.pathsep.join((str(project.directory / "src"), str(ROOT)))
    return {**inherited, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}


def service(project: Project, behind: Surroundings, **settings: str) -> App:
    """Return the generated service as production runs it: every safety feature is on."""
    environment = {
        **base_environment(project),
        **behind.environment,
        "APP_ENVIRONMENT": "production",
        "APP_HTTP__TRUSTED_HOSTS": "127.0.0.1",
        "APP_RATE_LIMITS__GENERAL_ADDRESS": MANY,
        "APP_RATE_LIMITS__GENERAL_ACCOUNT": MANY,
        "APP_RATE_LIMITS__AUTH_ADDRESS": MANY,
        "APP_RATE_LIMITS__AUTH_ACCOUNT": MANY,
        "APP_SERVER__CONCURRENCY": "32",
        **settings,
    }
    words = (str(project.python), "-m", "gunicorn", "-c", "python:app.gunicorn_config")
    return App(project.name, (*words, "app.asgi:app"), environment, project.directory)


def by_hand(name: str, project: Project, behind: Surroundings, **settings: str) -> App:
    """Return one of the apps of `benchmarks.inside`, on the libraries of a project."""
    words = (str(project.python), "-m", "gunicorn", "-k", "uvicorn_worker.UvicornWorker")
    options = ("--no-control-socket", "-b", "127.0.0.1:{port}", "-w", "{workers}")
    environment = {**base_environment(project), **behind.environment, **settings}
    module = f"benchmarks.inside.{name}:app"
    return App(name, (*words, *options, module), environment, project.directory)
