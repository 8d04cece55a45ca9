"""Generate a variant of the template and run its checks.

A variant is named after its database and its modules, joined by hyphens, as in `postgresql` or
`sqlite-redis-arq`. A factor for the interpreter (`py313`) or for the oldest allowed dependencies
(`lowest`) may follow; `removed` removes the example resource. A check keeps its project with all
caches for the next check; concurrent checks have a slot each.

    python tools/variant.py list
    python tools/variant.py generate sqlite build/
    python tools/variant.py check sqlite build/ --results build/results
    python tools/variant.py report build/results
"""

import argparse
import fcntl
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from cookiecutter.main import cookiecutter

ROOT = Path(__file__).resolve().parents[1]
SLUG = "demo-service"
MODULE_PREFIX = "use_"

LEFT_BY_TOOLS = frozenset(
    {
        ".coverage",
        ".dev",
        ".hypothesis",
        ".import_linter_cache",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        ".tox",
        ".venv",
        "__pycache__",
        "uv.lock",
    }
)
"""Leftovers of tools in the tree, ignored by git and not part of the template."""

INTERPRETER = re.compile(r"py3\d+")
LOWEST = "lowest"
REMOVED = "removed"
UNMEASURED = ("format-check", "lint", "types", "layers", "test")
"""The targets of `make check` without coverage, which takes a third of the time of the tests.

It is measured for the barest and the fullest variant of each database, also after the example was
removed: what lies between them, other interpreters and older dependencies have the same code.
"""
TEST_OPTIONS = "-n0"
"""Concurrent checks keep the cores busy; each further process would import everything."""

STARTED = "TEMPLATE_RUN_STARTED"
"""Variable with the start of tox, in seconds of the epoch, set by `toxfile.py` for reports."""

PASSED = re.compile(r"\b(\d+) passed\b")
COVERAGE = re.compile(r"^TOTAL\b.*\s(\d+(?:\.\d+)?)%", re.MULTILINE)
SERVERS = re.compile(r"^(?:databases|servers): (.+)$", re.MULTILINE)
REASONS = re.compile(r"^(?:_{3,} .+ _{3,}|E  .*|(?:FAILED|ERROR) .*)$", re.MULTILINE)
MOST_REASONS = 60
"""In lines."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of a check; `seconds` is wall-clock time, generation included."""

    variant: str
    python: str
    ok: bool
    tests: str
    coverage: str
    servers: str
    seconds: int


def questions() -> dict[str, object]:
    """Return the template's questions with their defaults, private keys left out."""
    content = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
    return {key: value for key, value in content.items() if not key.startswith("_")}


def databases() -> list[str]:
    """Return the databases that can be chosen, the default first."""
    choices = questions()["database"]
    assert isinstance(choices, list)
    return choices


def modules() -> list[str]:
    """Return the optional modules by name, without the prefix of their question."""
    return [
        key.removeprefix(MODULE_PREFIX)
        for key, value in questions().items()
        if isinstance(value, bool) and key.startswith(MODULE_PREFIX)
    ]


def allowed(chosen: Sequence[str]) -> bool:
    """Return whether these modules can be combined: jobs need Redis."""
    return "arq" not in chosen or "redis" in chosen


def names() -> Iterator[str]:
    """Yield the name of every valid variant, the barest of each database first."""
    for database in databases():
        for count in range(len(modules()) + 1):
            for chosen in itertools.combinations(modules(), count):
                if allowed(chosen):
                    yield "-".join((database, *chosen))


def ends() -> list[str]:
    """Return the barest and the fullest variant of each database."""
    return ["-".join((database, *chosen)) for database in databases() for chosen in ((), modules())]


def answers(name: str) -> dict[str, str | bool]:
    """Return the answers of a variant.

    Raises:
        SystemExit: a part of the name is neither a database, a module nor a known factor.
    """
    factors = {LOWEST, REMOVED}
    parts = [
        part for part in name.split("-") if part not in factors and not INTERPRETER.fullmatch(part)
    ]
    unknown = [part for part in parts[1:] if part not in modules()]
    if not parts or parts[0] not in databases() or unknown:
        sys.exit(f"{name}: no such variant. There are: {', '.join(names())}.")
    chosen: dict[str, str | bool] = {
        MODULE_PREFIX + module: module in parts for module in modules()
    }
    return {"project_name": "Demo Service", "project_slug": SLUG, "database": parts[0], **chosen}


def copy_template(folder: Path) -> Path:
    """Copy the template, as in a clone, into a new folder and return it."""
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "cookiecutter.json", folder)
    for part in ("hooks", "{{cookiecutter.project_slug}}"):
        shutil.copytree(
            ROOT / part, folder / part, ignore=lambda _, names: LEFT_BY_TOOLS & set(names)
        )
    for path, folders, files in os.walk(folder, topdown=False):
        if not any((Path(path) / name).exists() for name in (*folders, *files)):
            Path(path).rmdir()
    return folder


def generate(name: str, folder: Path) -> Path:
    """Write the variant into a new folder below `folder`, replacing an older one, and return it."""
    shutil.rmtree(folder / SLUG, ignore_errors=True)
    with tempfile.TemporaryDirectory() as place:
        project = cookiecutter(
            str(copy_template(Path(place, "template"))),
            no_input=True,
            extra_context=answers(name),
            output_dir=str(folder),
            default_config=True,
        )
    if REMOVED in name.split("-"):
        remove = (sys.executable, "scripts/remove_example.py", "--force")
        subprocess.run(remove, cwd=project, check=True, stdout=subprocess.DEVNULL)
    return Path(project)


@contextmanager
def slot(folder: Path, kind: str) -> Iterator[Path]:
    """Yield a folder below `folder` that no other check of this kind uses at the moment.

    Caches stay there for the next check: the environment, mypy's cache, compiled modules.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in itertools.count():
        place = folder / f"{kind}-{number}"
        with place.with_suffix(".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            place.mkdir(exist_ok=True)
            yield place
            return


def renew(project: Path, generated: Path) -> None:
    """Update a project to a generated one, except for equal files and caches."""
    wanted = _files(generated)
    for path in _files(project) - wanted:
        (project / path).unlink()
    for path in wanted:
        source, target = generated / path, project / path
        if not target.exists() or target.read_bytes() != source.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    # A folder with nothing but a cache would still be a package.
    for folder in _folders(project) - _folders(generated):
        shutil.rmtree(project / folder, ignore_errors=True)


def _files(project: Path) -> set[Path]:
    return {path / name for path, names in _walk(project) for name in names}


def _folders(project: Path) -> set[Path]:
    return {path for path, _ in _walk(project)}


def _walk(project: Path) -> Iterator[tuple[Path, list[str]]]:
    for path, folders, files in os.walk(project):
        folders[:] = [name for name in folders if name not in LEFT_BY_TOOLS and name != ".git"]
        yield (
            Path(path).relative_to(project),
            [name for name in files if name not in LEFT_BY_TOOLS],
        )


def environment(name: str, python: str) -> dict[str, str]:
    """Return the environment of a check: one interpreter, no downloads, no settings inherited.

    With a factor, the tests run in several processes, as by default.
    """
    inherited = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("APP_", "COV_", "COVERAGE_", "PYTEST_"))
        and key not in {"VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "PYTHONPATH", "PYTHONHOME"}
    }
    wanted = {"UV_PYTHON": python, "UV_PYTHON_DOWNLOADS": "never", "PYTHONUNBUFFERED": "1"}
    if LOWEST in name.split("-"):
        wanted["UV_RESOLUTION"] = "lowest-direct"
    if not _has_factor(name):
        wanted["PYTEST_ADDOPTS"] = TEST_OPTIONS
    return inherited | wanted


def targets(name: str) -> tuple[str, ...]:
    """Return the targets of `make` that check a variant."""
    return ("check",) if name.removesuffix(f"-{REMOVED}") in ends() else UNMEASURED


def check(name: str, folder: Path, results: Path) -> bool:
    """Generate the variant, run its checks, and store the outcome in `results`.

    The output is stored as well. It is printed as it comes on a terminal, and otherwise only on
    failure, to keep the output of concurrent checks short.
    """
    started = time.monotonic()
    results.mkdir(parents=True, exist_ok=True)
    result = results / f"{name}.json"
    result.unlink(missing_ok=True)
    log = result.with_suffix(".log")
    live = sys.stdout.isatty()
    with slot(folder, _kind(name)) as place:
        code = _make(name, _project_in(place, name), log, live=live)
    text = log.read_text(encoding="utf-8", errors="replace")
    outcome = Outcome(
        variant=name,
        python=".".join(map(str, sys.version_info[:3])),
        ok=code == 0,
        tests=_last(PASSED, text),
        coverage=_last(COVERAGE, text, unit=" %"),
        servers=servers_in(text),
        seconds=round(time.monotonic() - started),
    )
    result.write_text(json.dumps(asdict(outcome)), encoding="utf-8")
    if not live:
        print(table([outcome]) if outcome.ok else text, flush=True)
    return outcome.ok


def _project_in(place: Path, name: str) -> Path:
    """Generate the variant into a slot; return its folder."""
    project = place / SLUG
    with tempfile.TemporaryDirectory() as fresh:
        generated = generate(name, Path(fresh))
        if not project.exists():
            project.mkdir()
            # A repository of its own: ruff would respect our .gitignore, which excludes it.
            subprocess.run(["git", "init", "--quiet"], cwd=project, check=True)
        renew(project, generated)
    lock = project / "uv.lock"
    if lock.exists() and lock.stat().st_mtime < float(os.environ.get(STARTED, "inf")):
        lock.unlink()  # there may be newer versions since
    return project


def _make(name: str, project: Path, log: Path, *, live: bool) -> int:
    """Run the check of a project; write its output to `log` and return the exit code."""
    # Not the interpreter of tox's environment: the slot is shared by all.
    variables = environment(name, str(Path(sys.executable).resolve()))
    # Remove the packages of the last variant, which `uv run` would keep.
    subprocess.run(["uv", "sync", "--quiet"], cwd=project, env=variables, check=True)
    with (
        log.open("wb", buffering=0) as file,
        subprocess.Popen(
            ["make", *targets(name)],
            cwd=project,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            if live:
                sys.stdout.buffer.write(line)
                sys.stdout.buffer.flush()
    return process.returncode


def _kind(name: str) -> str:
    """Return the key of caches: the interpreter and the versions of dependencies."""
    interpreter = sys.implementation.cache_tag or sys.implementation.name
    return f"{interpreter}-{LOWEST}" if LOWEST in name.split("-") else interpreter


def _has_factor(name: str) -> bool:
    return any(part == LOWEST or INTERPRETER.fullmatch(part) for part in name.split("-"))


def _last(pattern: re.Pattern[str], text: str, *, unit: str = "") -> str:
    found = pattern.findall(text)
    return found[-1] + unit if found else "-"


def servers_in(output: str) -> str:
    """Return the servers that a test run reported."""
    return "; ".join(dict.fromkeys(SERVERS.findall(output))) or "-"


def reasons_in(output: str) -> str:
    """Return the failures of pytest, or else the last lines."""
    reasons = REASONS.findall(output) or output.splitlines()
    return "\n".join(reasons[-MOST_REASONS:])


def outcomes_in(results: Path, since: float = 0.0) -> list[Outcome]:
    """Return the outcomes in `results` since a time in seconds of the epoch."""
    return [
        Outcome(**json.loads(file.read_text(encoding="utf-8")))
        for file in sorted(results.glob("*.json"))
        if file.stat().st_mtime >= since
    ]


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the outcomes as a table, with the numbers of passed and failed variants."""
    rows = [[field.name for field in fields(Outcome)]]
    rows += [
        ["yes" if value is True else "NO" if value is False else str(value) for value in row]
        for row in (asdict(outcome).values() for outcome in outcomes)
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    passed = sum(outcome.ok for outcome in outcomes)
    return "\n".join([*lines, f"{passed} passed, {len(outcomes) - passed} failed"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="print the name of every variant")
    for command, text in (("generate", "write a variant"), ("check", "write and check a variant")):
        sub = commands.add_parser(command, help=text)
        sub.add_argument("name", help="the variant, such as sqlite")
        sub.add_argument("folder", type=Path, help="the folder for the project")
        if command == "check":
            sub.add_argument(
                "--results", type=Path, required=True, help="the folder for the outcome"
            )
    sub = commands.add_parser("report", help="print the outcomes of checks")
    sub.add_argument("results", type=Path, help="the folder of the outcomes")
    given = parser.parse_args(arguments)
    if given.command == "list":
        print("\n".join(names()))
    elif given.command == "generate":
        print(generate(given.name, given.folder))
    elif given.command == "check":
        return 0 if check(given.name, given.folder, given.results) else 1
    else:
        outcomes = outcomes_in(given.results, float(os.environ.get(STARTED, "0")))
        print(table(outcomes))
        failed = [
            given.results / f"{outcome.variant}.log" for outcome in outcomes if not outcome.ok
        ]
        for log in failed:
            print(f"\n{log}:\n{reasons_in(log.read_text(encoding='utf-8', errors='replace'))}")
        return 1 if failed else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
