"""Show that every rule is really held: plant a violation of each and see what holds it fail.

`docs/rules.md` of a generated project names for each rule the lints, types, contracts and tests
that hold it; `tools/violations.py` has a violation for each rule. The project is generated (or one
is given that has been synced), copied, and each violation is planted in a copy, where exactly the
named check is run. Before that, all of them have to pass.

    python tools/plant.py postgresql build/                   generate, sync, plant
    python tools/plant.py sqlite build/ --rules DB04 SEC09    some rules
    python tools/plant.py postgresql build/ --keep            use the project that is there
"""

import argparse
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# Run as a script, the folder of the script is what Python looks in.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools import variant
from tools.violations import VIOLATIONS, Violation

ROW = re.compile(r"^\| ([A-Z]+\d\d) \| (.+) \| (.+) \|$", re.MULTILINE)
CHECK = re.compile(r"(lint|contract|test) `([^`]+)`|\b(types)\b")
SERVER = """
import sys
from dev_servers import postgresql
with postgresql.opened(None) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""
QUIET = ("-p", "no:cacheprovider", "-p", "no:faker", "-p", "no:randomly")
SECONDS = 600
NOT_COPIED = frozenset({".venv", ".git", ".mypy_cache"})


@dataclass(frozen=True, slots=True)
class Check:
    """What holds a rule: `lint` and its code, `contract` and its id, `test` and its node, `types`.

    Attributes:
        kind: Which tool.
        name: What of it; empty for the type checker.
    """

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".strip()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a planted violation."""

    violation: Violation
    caught: bool
    output: str
    seconds: float


def held_by(rules: str) -> dict[str, list[Check]]:
    """Read `docs/rules.md`: what holds each rule, by the rule's id."""
    return {
        match[1]: [
            Check(found[1] or found[3], found[2] or "") for found in CHECK.finditer(match[3])
        ]
        for match in ROW.finditer(rules)
    }


def apply(violation: Violation, project: Path) -> None:
    """Plant a violation.

    Raises:
        ValueError: What it replaces is not there, or not once.
    """
    for edit in violation.edits:
        path = project / edit.file
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        if edit.find and text.count(edit.find) != 1:
            times = text.count(edit.find)
            raise ValueError(f"{violation.rule}: {edit.file} has {edit.find!r} {times} times")
        changed = text.replace(edit.find, edit.put) if edit.find else text + edit.put
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(changed, encoding="utf-8")


@contextmanager
def planted(violation: Violation, project: Path) -> Iterator[None]:
    """Have a violation in a project while the block runs."""
    paths = {project / edit.file for edit in violation.edits}
    before = {path: path.read_bytes() if path.exists() else None for path in paths}
    try:
        apply(violation, project)
        yield
    finally:
        for path, content in before.items():
            if content is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(content)


def command(check: Check, python: Path) -> list[str]:
    """Return the command that runs a check."""
    programs = python.parent
    match check.kind:
        case "lint":
            return [str(programs / "ruff"), "check", "--no-cache", "--output-format=concise", "."]
        case "types":
            return [str(programs / "mypy")]
        case "contract":
            return [str(programs / "lint-imports"), "--no-cache", "--contract", check.name]
        case _:
            # A plugin of Schemathesis' size takes longer to load than most tests take to run.
            unused = [] if check.name.startswith("fuzz/") else ["-p", "no:schemathesis"]
            options = ["-n0", "-x", "-q", "--no-header", *QUIET, *unused]
            return [str(python), "-m", "pytest", *options, check.name]


def fails(check: Check, code: int, output: str) -> bool:
    """Tell whether a check has failed in the way that it is there for, and not broken down."""
    match check.kind:
        case "lint":
            return f" {check.name} " in output
        case "types":
            return code == 1 and "error:" in output
        case "contract":
            return code == 1 and "BROKEN" in output
        case _:
            return code == 1 and re.search(r"\d+ (failed|error)", output) is not None


def run(
    check: Check, project: Path, python: Path, environment: dict[str, str], *more: str
) -> tuple[int, str]:
    """Run a check in a project, and `more` tests; return the exit code and what it says."""
    done = subprocess.run(
        [*command(check, python), *more],
        cwd=project,
        env=environment | {"PYTHONPATH": f"{project / 'src'}{os.pathsep}{project}"},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=SECONDS,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def baseline(
    checks: Sequence[Check], project: Path, python: Path, environment: dict[str, str]
) -> list[str]:
    """Run all checks on the project as it is; return what fails, which nothing must."""
    failures = []
    tests = sorted({check.name for check in checks if check.kind == "test"})
    others = {check.kind: check for check in checks if check.kind in {"lint", "types"}}
    for check in [*others.values(), *(c for c in checks if c.kind == "contract")]:
        code, output = run(check, project, python, environment)
        if code != 0:
            failures.append(f"{check}:\n{output}")
    # Each folder has plugins of its own, so each is a run of its own.
    for folder in sorted({test.partition("/")[0] for test in tests}):
        nodes = [test for test in tests if test.startswith(f"{folder}/")]
        code, output = run(Check("test", nodes[0]), project, python, environment, *nodes[1:])
        if code != 0:
            failures.append(output)
    return failures


@contextmanager
def database_server(project: Path, environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """Have one server for all runs, where the variant needs one; yield the environment."""
    if not (project / "src/dev_servers/postgresql.py").exists():
        yield environment
        return
    python = project / ".venv/bin/python"
    with subprocess.Popen(
        [str(python), "-c", SERVER],
        cwd=project,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield environment | {"TEST_POSTGRESQL_URL": process.stdout.readline().strip()}
        finally:
            process.stdin.close()
            process.wait(timeout=60)


def plant(
    project: Path,
    violations: Sequence[Violation],
    environment: dict[str, str],
    *,
    jobs: int,
    first: bool,
) -> list[Outcome]:
    """Plant violations in copies of a project that has been synced; return what came of each.

    Raises:
        SystemExit: The checks fail without any violation.
    """
    python = project / ".venv/bin/python"
    with tempfile.TemporaryDirectory(prefix="planted-") as place:
        copies: queue.Queue[Path] = queue.Queue()
        for number in range(jobs):
            copies.put(_copy(project, Path(place) / str(number) / project.name))
        with database_server(project, environment) as surroundings:
            checks = [parsed(violation.held_by) for violation in violations]
            if first:
                copy = copies.get()
                failures = baseline(checks, copy, python, surroundings)
                copies.put(copy)
                if failures:
                    sys.exit("Without any violation, these fail:\n\n" + "\n\n".join(failures))

            def one(violation: Violation) -> Outcome:
                copy, started = copies.get(), time.monotonic()
                try:
                    with planted(violation, copy):
                        check = parsed(violation.held_by)
                        code, output = run(check, copy, python, surroundings)
                finally:
                    copies.put(copy)
                caught = fails(check, code, output)
                outcome = Outcome(violation, caught, output, time.monotonic() - started)
                print(line(outcome), flush=True)
                return outcome

            with ThreadPoolExecutor(jobs) as threads:
                return list(threads.map(one, violations))


def parsed(text: str) -> Check:
    """Read a check as a violation names it, such as `lint S608`."""
    kind, _, name = text.partition(" ")
    return Check(kind, name)


def line(outcome: Outcome) -> str:
    """Return an outcome as a line of the table."""
    violation = outcome.violation
    caught = "caught" if outcome.caught else "NOT CAUGHT"
    return f"{violation.rule}  {caught}  {violation.what}  [{violation.held_by}]"


def _copy(project: Path, to: Path) -> Path:
    return Path(
        shutil.copytree(project, to, symlinks=True, ignore=lambda _, names: NOT_COPIED & set(names))
    )


def sync(project: Path, environment: dict[str, str]) -> None:
    """Install what a project needs, compiled once for all runs."""
    command = ["uv", "sync", "--quiet", "--all-groups", "--compile-bytecode"]
    subprocess.run(command, cwd=project, env=environment, check=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", help="the variant, such as sqlite")
    parser.add_argument("folder", type=Path, help="where its folder is made, or is")
    parser.add_argument("--keep", action="store_true", help="use the project that is there")
    parser.add_argument("--rules", nargs="+", metavar="ID", help="plant for these alone")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time [2]")
    parser.add_argument(
        "--at-once", action="store_true", help="do not see first whether all checks pass"
    )
    parser.add_argument("--verbose", action="store_true", help="show what was not caught")
    given = parser.parse_args(arguments)

    # Libraries are compiled once; sources that change twice within a second must not be.
    environment = variant.environment(given.name, sys.executable)
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    project = given.folder.resolve() / variant.SLUG
    if not (given.keep and project.exists()):
        variant.generate(given.name, given.folder)
    sync(project, environment)
    chosen = [
        violation
        for violation in VIOLATIONS
        if violation.fits(variant.answers(given.name))
        if given.rules is None or violation.rule in given.rules
    ]
    outcomes = plant(project, chosen, environment, jobs=given.jobs, first=not given.at_once)
    missed = [outcome for outcome in outcomes if not outcome.caught]
    print(f"\n{len(outcomes)} violations of {len({o.violation.rule for o in outcomes})} rules")
    for outcome in missed:
        print(f"\n{line(outcome)}")
        if given.verbose:
            print(outcome.output[-4000:])
    print(f"{len(missed)} not caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
