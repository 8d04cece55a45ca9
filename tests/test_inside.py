"""Tests of development servers and test tooling, run inside a generated project."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.servers import Project, Stores, service
from tools import variant

INSIDE = Path(__file__).with_name("inside")
FILES = {
    "sqlite": ["test_databases.py", "test_isolation.py", "test_operations_plugin.py"],
    "postgresql-redis-arq-websockets-s3": [
        "test_databases.py",
        "test_dev_servers.py",
        "test_isolation.py",
    ],
}


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A directory that other runs of pytest leave alone.

    They close `/tmp/pytest-of-root` to all other users, and root's PostgreSQL runs as another user.
    """
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.mark.parametrize("name", FILES, indirect=True)
def test_tests_inside_a_project_pass(name: str, project: Path, elsewhere: Path) -> None:
    copy = elsewhere / project.name
    shutil.copytree(project, copy)
    shutil.copytree(INSIDE, copy / "tests/inside")
    environment = variant.environment(name, str(Path(sys.executable).resolve()))
    subprocess.run(["uv", "sync", "--quiet"], cwd=copy, env=environment, check=True)
    done = subprocess.run(
        [
            *("uv", "run", "--no-sync", "pytest", "-q", "-p", "pytester", "-p", "no:cacheprovider"),
            *(f"tests/inside/{file}" for file in FILES[name]),
        ],
        cwd=copy,
        env={**environment, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["sqlite"], indirect=True)
def test_production_accepts_the_settings_of_the_benchmarks(
    name: str, project: Path, tmp_path: Path
) -> None:
    own = {"APP_DATABASE__URL": f"sqlite+aiosqlite:///{tmp_path}/app.db"}
    stores = Stores("", 0, tmp_path / "log", {**own, "APP_AUTH__SIGNING_KEYS": "{}"})
    copy = Project(name, tmp_path / project.name)
    shutil.copytree(project, copy.directory)
    program = "from app.config import load_settings; load_settings()"

    done = subprocess.run(
        ["uv", "run", "--quiet", "python", "-c", program],
        cwd=copy.directory,
        env={
            **variant.environment(name, str(Path(sys.executable).resolve())),
            **service(copy, stores).environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
