"""Side-by-side measurements of a generated service and of what is written by hand.

    python -m benchmarks run                 everything, and the last result of the README
    python -m benchmarks run --quick         a few minutes, to see where one stands
    python -m benchmarks run --only files    a part of it, of which the README says nothing
    python -m benchmarks run --only making   ... and this one renews the seconds of the last result
    python -m benchmarks count               instructions, compared with the baseline
    python -m benchmarks count --renew       ... which they become
    python -m benchmarks layers              where they go: what each layer of middleware takes

The exit code is 1 if an operation takes too many instructions more than in the baseline, and 2 if
the machine lacks what it takes to measure.
"""

import argparse
import json
import os
import platform
import re
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import chart, fanout, files, growth, instructions, load, making, rows
from benchmarks.measures import Curve, Report, Row, curve_table, seconds_table, table
from benchmarks.projects import ROOT, Project, by_hand, make, service, surroundings

VARIANT = "postgresql"
WITH_MODULES = "postgresql-redis-websockets-s3"
PARTS = ("operations", "files", "fanout", "making")
RESULTS = Path(__file__).with_name("results")
README = Path(__file__).with_name("README.md")
_IN_A_WHEEL = re.compile(r"[^ ,]*/site-packages/(\w+)/[^ ,]*")
"""Where a server is on this machine, which says nothing to others."""
_BEGIN, _END = "<!-- last result -->", "<!-- end of last result -->"
LACKING = (
    load.LoadGeneratorMissingError,
    instructions.CallgrindMissingError,
    fanout.OpenFilesError,
)
_EXIT_LACKING = 2


@dataclass(frozen=True, slots=True)
class Findings:
    """What was measured so far.

    Attributes:
        rows: The table.
        curves: Growth.
        sources: The servers that the apps stood on.
        seconds: What making a project takes, by step.
    """

    rows: list[Row] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    seconds: dict[str, float | str] = field(default_factory=dict)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    given = _parser().parse_args(arguments)
    try:
        return {"run": _run, "count": _count, "layers": _layers}[given.command](given)
    except LACKING as error:
        say(str(error))
        return _EXIT_LACKING


def say(line: str) -> None:
    """Tell people how it goes."""
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure everything")
    run.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    run.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="these parts alone")
    run.add_argument("--mebibytes", type=int, help="size of the file that goes in and out")
    run.add_argument("--clients", type=int, help="WebSockets that hear what is said")
    run.add_argument(
        "--output",
        type=Path,
        help="where the report goes; of parts but `making`, build/benchmarks",
    )
    count = commands.add_parser("count", help="count instructions")
    count.add_argument("--renew", action="store_true", help="make them the baseline")
    layers = commands.add_parser("layers", help="count what each layer of middleware takes")
    layers.add_argument(
        "--only", nargs="+", default=["health", "create"], help="these operations alone"
    )
    for command in (run, count, layers):
        command.add_argument(
            "--python", type=Path, help="an interpreter with the dependencies; makes none"
        )
    return parser


def _run(given: argparse.Namespace) -> int:
    if tuple(given.only) == ("making",) and not given.quick and given.output is None:
        return _renew_seconds(given)
    if "operations" in given.only:
        load.require_wrk()
    effort, found = _effort(given), Findings()
    if "fanout" in given.only:
        fanout.require_open_files(effort.clients)
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        folder = Path(place)
        project = make(VARIANT, folder, given.python)
        busy = os.getloadavg()[0]
        say(f"load of the machine before: {busy:.2f}")
        if "operations" in given.only:
            _measure_operations(project, effort, folder, found, quick=given.quick)
        if {"files", "fanout"} & set(given.only):
            modules = make(WITH_MODULES, folder / "modules", given.python)
            _measure_modules(modules, effort, folder, found, given.only)
        if "making" in given.only:
            found.seconds.update(_seconds(project, quick=given.quick))
        report = Report(
            when=datetime.now(UTC).isoformat(timespec="seconds"),
            machine=_machine(busy, list(dict.fromkeys(found.sources))),
            versions=instructions.versions(project),
            rounds=effort.rounds,
            rows=found.rows,
            curves=found.curves,
            seconds=found.seconds,
        )
    is_whole = set(given.only) == set(PARTS)
    _write(report, given.output or (RESULTS if is_whole else ROOT / "build/benchmarks"))
    print("\n\n".join(_tables(report)))
    return 0


def _renew_seconds(given: argparse.Namespace) -> int:
    """Measure what making a project takes, and put it into the last result."""
    kept = Report.from_json(json.loads((RESULTS / "latest.json").read_text(encoding="utf-8")))
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        project = make(VARIANT, Path(place), given.python)
        seconds = _seconds(project, quick=False)
    seconds["taken"] = datetime.now(UTC).isoformat(timespec="minutes")
    _write(replace(kept, seconds=seconds), RESULTS)
    print(seconds_table(seconds))
    return 0


def _seconds(project: Project, *, quick: bool) -> dict[str, float | str]:
    """Return what making a project took, and what the rest of it takes."""
    return {**project.seconds, **making.measure(project, say, quick=quick)}


def _effort(given: argparse.Namespace) -> rows.Effort:
    usual = rows.QUICK if given.quick else rows.THOROUGH
    return replace(
        usual,
        mebibytes=given.mebibytes or usual.mebibytes,
        clients=given.clients or usual.clients,
    )


def _measure_operations(
    project: Project, effort: rows.Effort, folder: Path, found: Findings, *, quick: bool
) -> None:
    """Measure the service that has no modules."""
    with surroundings(project, items=1_000, export=effort.export) as behind:
        say(f"on {', '.join(behind.sources)}")
        found.sources.extend(behind.sources)
        generated = service(project, behind)
        apps = rows.Apps(
            generated, by_hand("floor", project, behind), by_hand("orm", project, behind)
        )
        found.rows.extend(rows.measure(apps, behind, effort, folder, say))
        found.curves.extend(
            growth.measure(generated, project, behind, effort.seconds, folder, say, quick=quick)
        )


def _measure_modules(
    project: Project, effort: rows.Effort, folder: Path, found: Findings, parts: Sequence[str]
) -> None:
    """Measure what modules bring: files and live events."""
    with surroundings(project, items=1, export=0) as behind:
        say(f"on {', '.join(behind.sources)}")
        found.sources.extend(behind.sources)
        if "files" in parts:
            found.rows.extend(files.measure(project, behind, effort, folder, say))
        if "fanout" in parts:
            found.rows.extend(fanout.measure(project, behind, effort, folder, say))


def _count(given: argparse.Namespace) -> int:
    instructions.require_callgrind()
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        project = make(VARIANT, Path(place), given.python)
        now = _counts(project)
    baseline = instructions.load() if instructions.BASELINE.exists() else None
    print(instructions.table(now, baseline))
    if given.renew or baseline is None:
        instructions.store(now)
        say(f"These are the baseline from now on: {instructions.BASELINE}")
        return 0
    others = instructions.differences(baseline.versions, now.versions)
    if others:
        say("Ratios to the floor are compared, and not counts, for the versions differ:")
        say("\n".join(f"  {each}" for each in others))
    found = instructions.regressions(baseline, now)
    for each in found:
        say(f"too much: {each}")
    return 1 if found else 0


def _layers(given: argparse.Namespace) -> int:
    instructions.require_callgrind()
    only = ("--only", *given.only)
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        project = make(VARIANT, Path(place), given.python)
        with surroundings(project, items=1_000, export=0) as behind:
            generated, floor = service(project, behind), by_hand("floor", project, behind)
            found = instructions.count(
                generated, "app.asgi:app", project, behind, options=(*only, "--layers")
            )
            floors = instructions.count(
                floor, "benchmarks.inside.floor:app", project, behind, options=only
            )
    print(instructions.layers_table(found, floors))
    return 0


def _counts(project: Project) -> instructions.Counts:
    with surroundings(project, items=1_000, export=0) as behind:
        generated, floor = service(project, behind), by_hand("floor", project, behind)
        return instructions.Counts(
            instructions.versions(project),
            instructions.count(generated, "app.asgi:app", project, behind),
            instructions.count(floor, "benchmarks.inside.floor:app", project, behind),
        )


def _machine(busy: float, sources: list[str]) -> dict[str, str]:
    return {
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "processors": str(os.cpu_count()),
        "load before": f"{busy:.2f}",
        "load after": f"{os.getloadavg()[0]:.2f}",
        "servers": _IN_A_WHEEL.sub(r"the wheel \1", ", ".join(sources)),
    }


def _write(report: Report, folder: Path) -> None:
    """Write the report for machines and for people; the README shows the one that is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report.as_json(), indent=2, ensure_ascii=False)
    (folder / "latest.json").write_text(f"{text}\n", encoding="utf-8")
    picture = chart.chart(report.rows, report.curves)
    (folder / "latest.svg").write_text(picture, encoding="utf-8")
    if folder.resolve() == RESULTS:
        README.write_text(
            with_result(README.read_text(encoding="utf-8"), in_words(report)), encoding="utf-8"
        )
    say(f"The report is in {folder}.")


def in_words(report: Report) -> str:
    """Return a report as a part of the README."""
    machine = "; ".join(f"{name}: {value}" for name, value in report.machine.items())
    parts = [
        f"{report.when}, {report.rounds} rounds. {machine}.",
        *_tables(report),
        "![ratios and growth](results/latest.svg)",
        curve_table(report.curves),
    ]
    if instructions.BASELINE.exists():
        counts = instructions.table(instructions.load(), None)
        parts.append(f"Instructions of one request, of the baseline:\n\n```\n{counts}\n```")
    return "\n\n".join(parts)


def _tables(report: Report) -> list[str]:
    tables = [table(report.rows)] if report.rows else []
    return [*tables, seconds_table(report.seconds)] if report.seconds else tables


def with_result(readme: str, result: str) -> str:
    """Return the README with another last result.

    Raises:
        ValueError: It has no place for one.
    """
    before, begin, rest = readme.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"the README lacks {_BEGIN} or {_END}")
    return f"{before}{_BEGIN}\n\n{result}\n\n{_END}{after}"


if __name__ == "__main__":
    # However it is ended, the servers that it has started end with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
