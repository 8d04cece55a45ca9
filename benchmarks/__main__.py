"""Measure a generated service beside the same written by hand, in one run.

    python -m benchmarks run                   everything, and the last result of the README
    python -m benchmarks run --short           fewer and shorter rounds, into build/benchmarks
    python -m benchmarks run --quick           the fewest, to see that everything works
    python -m benchmarks run --only files      a part of it, into build/benchmarks
    python -m benchmarks run --foreign X.toml  ... beside a service that runs already
    python -m benchmarks count                 instructions, compared with the baseline
    python -m benchmarks count --renew         ... which they become
    python -m benchmarks layers                instructions of each layer of middleware

The exit code is 1 if an operation takes more instructions than it may beside the baseline, and 2 if
valgrind is missing.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import instructions, modules
from benchmarks.report import Report, with_result
from benchmarks.servers import ROOT, Project, stores, versions
from benchmarks.targets import OPERATIONS

BARE = "postgresql"
WITH_MODULES = "postgresql-redis-websockets-s3"
PARTS = ("operations", "files", "events")
RESULTS = Path(__file__).with_name("results")
README = Path(__file__).with_name("README.md")
_PROJECTS = "BENCHMARKS_PROJECTS"
_EXIT_MISSING = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    given = _parser().parse_args(words)
    if given.command != "run" and not (shutil.which("valgrind") and shutil.which("vgdb")):
        say("valgrind not found: `apt-get install valgrind`")
        return _EXIT_MISSING
    if _PROJECTS not in os.environ:
        return _in_project(given, words)
    return {"run": _run, "count": _count, "layers": _layers}[given.command](given)


def say(line: str) -> None:
    """Report progress."""
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure")
    efforts = run.add_mutually_exclusive_group()
    efforts.add_argument("--short", action="store_true", help="fewer and shorter rounds")
    efforts.add_argument("--quick", action="store_true", help="as few as possible")
    run.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="these parts alone")
    run.add_argument("--foreign", action="append", type=Path, default=[], help="see the README")
    run.add_argument("--mebibytes", type=int, default=1024, help="size of the large file")
    run.add_argument("--clients", type=int, default=1000, help="number of WebSockets")
    run.add_argument("--output", type=Path, help="folder of the report")
    count = commands.add_parser("count", help="count instructions")
    count.add_argument("--renew", action="store_true", help="make them the baseline")
    layers = commands.add_parser("layers", help="count each layer of middleware")
    layers.add_argument("--only", nargs="+", choices=OPERATIONS, default=["health", "me", "create"])
    for command in (run, count, layers):
        command.add_argument("--python", help="interpreter of the projects, as uv understands it")
    return parser


def _in_project(given: argparse.Namespace, words: Sequence[str]) -> int:
    """Generate the projects, and run the command again with the libraries of the last one."""
    from benchmarks.making import make

    names = (
        [BARE] if given.command != "run" or given.only == ["operations"] else [BARE, WITH_MODULES]
    )
    projects = [make(name, given.python) for name in names]
    environment = {
        **os.environ,
        _PROJECTS: json.dumps({each.name: str(each.directory) for each in projects}),
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
    }
    command = [projects[-1].program("python"), "-m", "benchmarks", *words]
    with subprocess.Popen(command, env=environment) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            return process.wait()


def _project(name: str) -> Project:
    return Project(name, Path(json.loads(os.environ[_PROJECTS])[name]))


def _run(given: argparse.Namespace) -> int:
    from benchmarks import operations

    modules.require_open_files(given.clients if "events" in given.only else 0)
    effort = operations.THOROUGH
    if given.short or given.quick:
        effort = operations.SHORT if given.short else operations.QUICK
    machine = {
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "processors": str(os.cpu_count()),
        "Python": platform.python_version(),
        "turns": f"{effort.turns} of 1 s",
        "rounds": f"{effort.rounds}",
        "load before": f"{os.getloadavg()[0]:.2f}",
    }
    say(f"load of the machine before: {machine['load before']}")
    bare = _project(BARE)
    when = datetime.now(UTC).isoformat(timespec="minutes")
    report = Report(when, machine, instructions.mattering(versions(bare)))
    sources: list[str] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        folder = Path(place)
        if "operations" in given.only:
            with stores(bare, folder) as behind:
                sources += behind.sources
                operations.measure(bare, behind, effort, folder, report, say, given.foreign)
        if {"files", "events"} & {*given.only}:
            project = _project(WITH_MODULES)
            folder = folder / "modules"
            folder.mkdir()
            with stores(project, folder) as behind:
                sources += behind.sources
                of = modules.Modules(project, behind, folder, report, say, effort.rounds)
                if "files" in given.only:
                    modules.measure_files(of, 64 if given.quick else given.mebibytes)
                if "events" in given.only:
                    modules.measure_events(of, 100 if given.quick else given.clients)
    machine["load after"] = f"{os.getloadavg()[0]:.2f}"
    machine["servers"] = ", ".join(dict.fromkeys(sources))
    is_whole = {*given.only} == {*PARTS} and effort is operations.THOROUGH
    _write(report, given.output or (RESULTS if is_whole else ROOT / "build/benchmarks"))
    return 0


def _write(report: Report, folder: Path) -> None:
    """Write the report as JSON, print it, and show it in the README if it is the one to keep."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "latest.json").write_text(report.to_json(), encoding="utf-8")
    text = report.to_markdown()
    print(text)
    if folder.resolve() == RESULTS:
        readme = with_result(README.read_text(encoding="utf-8"), text)
        README.write_text(readme, encoding="utf-8")
    say(f"The report is in {folder}.")


def _count(given: argparse.Namespace) -> int:
    project = _project(BARE)
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as place,
        stores(project, Path(place)) as behind,
    ):
        now = instructions.count(project, behind, Path(place))
    baseline = instructions.load() if instructions.BASELINE.exists() else None
    print(instructions.table(now, baseline))
    if given.renew or baseline is None:
        instructions.store(now)
        say(f"New baseline: {instructions.BASELINE}")
        return 0
    others = instructions.differences(baseline.versions, now.versions)
    if others:
        say("Ratios to the floor are compared, and not counts, for these versions differ:")
        say("\n".join(f"  {each}" for each in others))
    found = instructions.regressions(baseline, now)
    for each in found:
        say(f"too many: {each}")
    return 1 if found else 0


def _layers(given: argparse.Namespace) -> int:
    project = _project(BARE)
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as place,
        stores(project, Path(place)) as behind,
    ):
        counts = instructions.count(project, behind, Path(place), given.only, layers=True)
    print(instructions.layers_table(counts))
    return 0


if __name__ == "__main__":
    # However it is ended, the servers that it has started end with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
