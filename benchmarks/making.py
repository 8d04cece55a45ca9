"""What making a project takes: to install it, to test it, and to check all variants of it."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.projects import ROOT, Project, base_environment, sync
from benchmarks.rows import Say
from tools import variant

RESULTS = ROOT / ".tox/results"
NOT_RUN = "not run"
_TESTS = "uv run pytest"
_ADDED_UP = "all variants, added up"
_BY_THE_CLOCK = "all variants, by the clock"
_PAUSE = 120
"""Seconds between the end of a check and the next one's start, within one run of the matrix."""


@dataclass(frozen=True, slots=True)
class Check:
    """A variant that was checked.

    Attributes:
        variant: Its name.
        ok: Whether it passed.
        ended: When, in seconds of the epoch.
        seconds: How long it took.
    """

    variant: str
    ok: bool
    ended: float
    seconds: float

    @property
    def began(self) -> float:
        """When it began."""
        return self.ended - self.seconds


def measure(project: Project, say: Say, *, quick: bool) -> dict[str, float | str]:
    """Return the seconds of each step, or why there are none; a quick run tests nothing."""
    found: dict[str, float | str] = {
        "uv sync, warm": _synced(project),
        _TESTS: NOT_RUN if quick else _tested(project, say),
        **matrix(RESULTS),
    }
    say(f"making a project: {found}")
    return found


def matrix(results: Path) -> dict[str, float | str]:
    """Return what the last run of the matrix took, by what tox has left of it; this starts none."""
    run = last_run(_checks(results))
    missing = set(variant.names()) - {check.variant for check in run}
    if not run or missing or not all(check.ok for check in run):
        some = f"{len(missing)} {NOT_RUN}" if missing else "failed"
        word = some if run else NOT_RUN
        return {_ADDED_UP: word, _BY_THE_CLOCK: word}
    clock = max(check.ended for check in run) - min(check.began for check in run)
    return {_ADDED_UP: sum(check.seconds for check in run), _BY_THE_CLOCK: clock}


def last_run(checks: Iterable[Check]) -> list[Check]:
    """Return the last checks between which there was no long pause: those of one run."""
    run: list[Check] = []
    began = float("inf")
    for check in sorted(checks, key=lambda each: each.ended, reverse=True):
        if run and check.ended < began - _PAUSE:
            break
        run.append(check)
        began = min(began, check.began)
    return run


def _checks(results: Path) -> Iterable[Check]:
    for path in results.glob("*.json"):
        outcome = json.loads(path.read_text(encoding="utf-8"))
        ended = path.stat().st_mtime
        yield Check(outcome["variant"], outcome["ok"], ended, outcome["seconds"])


def _synced(project: Project) -> float | str:
    """Make the environment again, from nothing but what is on this machine by now."""
    if not project.has_own_environment:
        return NOT_RUN
    shutil.rmtree(project.directory / ".venv")
    (project.directory / "uv.lock").unlink(missing_ok=True)
    started = time.perf_counter()
    sync(project.directory, project.name)
    return time.perf_counter() - started


def _tested(project: Project, say: Say) -> float | str:
    """Run the tests as people do; with an environment from elsewhere, by its interpreter."""
    if project.has_own_environment:
        command = ["uv", "run", "pytest"]
        environment = variant.environment(project.name, sys.executable)
        # What makes checks of all variants cheap is not what people have.
        environment.pop("PYTEST_ADDOPTS", None)
    else:
        command = [str(project.python), "-m", "pytest"]
        environment = base_environment(project)
    started = time.perf_counter()
    finished = subprocess.run(
        command,
        cwd=project.directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - started
    if finished.returncode == os.EX_OK:
        return seconds
    say(f"The tests of {project.name} fail:\n{finished.stdout[-4000:]}")
    return "failed"
