"""Add resources to a project of a variant, and run its checks and the tests of these resources.

python tools/resources.py fixed build/ sqlite postgresql
python tools/resources.py random build/ sqlite --number 100
"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, Phase, given, settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.toolkit.specifications import PROJECTS
from tests.toolkit.strategies import projects
from tools import variant

FIXED: Final = "trade"
"""The project that every run of the matrix checks."""

IN_A_PROJECT: Final = 5
CHECKS: Final = (
    "ruff format --check --quiet .",
    "ruff check --quiet .",
    "mypy",
    "lint-imports",
    "pytest --quiet tests/contract tests/migrations tests/unit/test_permissions.py",
)
"""What looks at all resources; the last one runs their own tests, too."""


def project_with(name: str, place: Path, lines: Sequence[str]) -> tuple[Path, list[str]]:
    """Write a variant with resources into a slot; return its folder and their tests.

    Args:
        name: The variant.
        place: A folder with the caches of earlier checks.
        lines: Arguments of the command, a line for each resource.
    """
    project = place / variant.SLUG
    with tempfile.TemporaryDirectory() as fresh:
        generated = variant.generate(name, Path(fresh))
        before = _tests(generated)
        _git(generated, "init")
        for line in lines:
            _git(generated, "add", "--all")
            _git(generated, "commit", "--quiet", "--message", "Before a resource")
            _add(generated, line)
        added = sorted(_tests(generated) - before)
        if not project.exists():
            project.mkdir()
            _git(project, "init")
        variant.renew(project, generated)
    return project, added


def check(name: str, folder: Path, lines: Sequence[str]) -> bool:
    """Add resources to a variant, and run the checks; return whether all passed."""
    variables = variant.environment(name, str(Path(sys.executable).resolve()))
    with variant.slot(folder, f"resources-{sys.implementation.cache_tag}") as place:
        project, tests = project_with(name, place, lines)
        subprocess.run(["uv", "sync", "--quiet"], cwd=project, env=variables, check=True)
        commands = [shlex.split(each) for each in CHECKS]
        commands[-1] += tests
        codes = [
            subprocess.run(
                ["uv", "run", "--no-sync", *each], cwd=project, env=variables, check=False
            ).returncode
            for each in commands
        ]
    return not any(codes)


def check_random(name: str, folder: Path, number: int) -> bool:
    """Check random resources, several in a project; raise an error at the first that fails."""
    found: list[bool] = []

    @settings(
        max_examples=max(1, number // IN_A_PROJECT),
        database=None,
        deadline=None,
        phases=[Phase.generate],
        print_blob=True,
        suppress_health_check=[*HealthCheck],
    )
    @given(lines=projects(IN_A_PROJECT))
    def check_one(lines: list[str]) -> None:
        print("\n".join(lines), flush=True)
        found.append(check(name, folder, lines))
        assert found[-1], lines

    check_one()
    return all(found)


def _add(project: Path, line: str) -> None:
    has_jobs = (project / "src/app/core/jobs.py").exists()
    arguments = ["resource", *shlex.split(line)]
    if has_jobs and "--export" in arguments and "--public" not in arguments:
        arguments.append("--export-job")
    done = subprocess.run(
        [sys.executable, "-m", "fastapi_senior", *arguments],
        cwd=project, capture_output=True, text=True, check=False,
        env=os.environ | {"NO_COLOR": "1"},
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{line}\n{done.stderr}")


def _tests(project: Path) -> set[str]:
    return {str(each.relative_to(project)) for each in project.glob("tests/*/test_*.py")}


def _git(project: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=tests", "-c", "user.email=tests@example.com")
    subprocess.run(["git", *identity, *arguments], cwd=project, check=True, capture_output=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=("random", "fixed", *PROJECTS), help="the resources")
    parser.add_argument("folder", type=Path, help="the folder for the projects")
    parser.add_argument("variants", nargs="+", help="the variants, such as sqlite")
    parser.add_argument("--number", type=int, default=100, help="how many random resources")
    chosen = parser.parse_args(arguments)
    lines = PROJECTS.get(chosen.kind, PROJECTS[FIXED])
    for name in chosen.variants:
        passed = (
            check_random(name, chosen.folder, chosen.number)
            if chosen.kind == "random"
            else check(name, chosen.folder, lines)
        )
        if not passed:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
