"""Tests of development servers and test tooling, run inside a generated project."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("name", FILES, indirect=True)
def test_tests_inside_a_project_pass(name: str, project: Path, tmp_path: Path) -> None:
    copy = tmp_path / project.name
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
