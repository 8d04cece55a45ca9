"""Counts of instructions, by Callgrind: what a machine's load does not change.

A count depends on the interpreter's build and on the libraries. With those of the baseline, counts
are compared with its counts; with others, the ratio to the floor, counted in the same run, with
its ratio: what both run on cancels out.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.projects import Project, Surroundings
from benchmarks.serving import App

BASELINE = Path(__file__).with_name("baseline.json")
MOST_GROWTH = 0.05
"""How much more an operation may take than in the baseline."""

TIMES = 100
_SECONDS = 900
_NAME = re.compile(r"^desc: Trigger: dump (\w+)$", re.MULTILINE)
_TOTAL = re.compile(r"^totals: (\d+)$", re.MULTILINE)
_VERSIONS = """
import json, platform, sys
from importlib.metadata import distributions
libraries = {each.metadata["Name"].lower(): each.version for each in distributions()}
print(json.dumps({"python": sys.version, "machine": platform.machine(), **libraries}))
"""
_MATTER = (
    *("python", "machine", "asyncpg", "cryptography", "fastapi", "greenlet", "httptools", "limits"),
    *("opentelemetry-api", "pydantic", "pydantic_core", "pyjwt", "sqlalchemy", "starlette"),
    *("structlog", "uuid-utils", "uvicorn", "uvloop"),
)


class CallgrindMissingError(Exception):
    """Instructions can't be counted on this machine."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Instructions of one request, by operation.

    Attributes:
        versions: Of what the apps run on.
        service: Of the generated service.
        floor: Of the app that was written by hand.
    """

    versions: dict[str, str]
    service: dict[str, int]
    floor: dict[str, int]

    def ratio(self, operation: str) -> float:
        """How many times as much as the floor the service takes."""
        return self.service[operation] / self.floor[operation]


def require_callgrind() -> None:
    """Pass if instructions can be counted.

    Raises:
        CallgrindMissingError: They can't.
    """
    for program in ("valgrind", "vgdb"):
        if shutil.which(program) is None:
            raise CallgrindMissingError(
                f"Instructions are counted by Callgrind, and there is no {program} on this "
                "machine: `apt-get install valgrind`. Nothing was compared."
            )


def count(
    app: App, module: str, project: Project, behind: Surroundings, *, options: Sequence[str] = ()
) -> dict[str, int]:
    """Return the instructions of one request by operation.

    Args:
        app: What to count; its environment is that of the server.
        module: Where the application is, such as `app.asgi:app`.
        project: Whose interpreter runs it.
        behind: What its database holds.
        options: Those of `benchmarks.inside.count`.

    Raises:
        RuntimeError: It failed.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        callgrind = ("valgrind", "--tool=callgrind", "--instr-atstart=no")
        files = f"--callgrind-out-file={place}/count"
        script = ("-m", "benchmarks.inside.count", module, json.dumps(behind.facts))
        log = Path(place, "log")
        with log.open("w") as output:
            finished = subprocess.run(
                [*callgrind, files, project.python, *script, "--times", str(TIMES), *options],
                cwd=app.directory,
                # The order of sets, and so the way through some code, would change each time.
                env={**app.environment, "PYTHONHASHSEED": "0", "BENCHMARKS_CALLGRIND": "1"},
                stdout=subprocess.DEVNULL,
                stderr=output,
                timeout=_SECONDS,
                check=False,
            )
        if finished.returncode != 0:
            raise RuntimeError(f"{app.name} under Callgrind:\n{log.read_text()[-4000:]}")
        return dict(filter(None, (parse(path.read_text()) for path in Path(place).glob("count.*"))))


def parse(profile: str) -> tuple[str, int] | None:
    """Return the operation that a profile of Callgrind is about, and its instructions a request."""
    name, total = _NAME.search(profile), _TOTAL.search(profile)
    if name is None or total is None:
        return None
    return name[1], int(total[1]) // TIMES


def layers(counts: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Return what each layer of middleware takes, by operation.

    Args:
        counts: Of each operation as it is, and of `<operation>__<layer>` without that layer.
    """
    found: dict[str, dict[str, int]] = {}
    for name, number in counts.items():
        operation, _, layer = name.partition("__")
        if layer:
            found.setdefault(operation, {})[layer] = counts[operation] - number
    return found


def layers_table(service: Mapping[str, int], floor: Mapping[str, int]) -> str:
    """Return where the instructions of a request go, a line each, the most first.

    Args:
        service: Counts of the service, also without each of its layers.
        floor: Counts of the app that was written by hand.
    """
    lines = []
    for operation, costs in layers(service).items():
        total, by_hand = service[operation], floor[operation]
        lines += [f"{operation}: {total:,}, which is {total / by_hand:.2f} times the floor's"]
        rest = {"routing, dependencies, the operation": total - sum(costs.values()), **costs}
        lines += [
            f"  {number:>10,} {number / by_hand:>6.2f}  {name}"
            for name, number in sorted(rest.items(), key=lambda each: -each[1])
        ]
    return "\n".join(lines)


def versions(project: Project) -> dict[str, str]:
    """Return the versions of what a count depends on."""
    output = subprocess.run(
        [project.python, "-c", _VERSIONS], capture_output=True, check=True, text=True
    ).stdout
    found: dict[str, str] = json.loads(output)
    return {name: found[name] for name in _MATTER if name in found}


def store(counts: Counts, path: Path = BASELINE) -> None:
    """Make counts the baseline."""
    path.write_text(json.dumps(asdict(counts), indent=2) + os.linesep, encoding="utf-8")


def load(path: Path = BASELINE) -> Counts:
    """Return the baseline."""
    return Counts(**json.loads(path.read_text(encoding="utf-8")))


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return in what the versions differ, in words."""
    names = sorted({*before, *now})
    return [
        f"{name}: {before.get(name, 'none')} in the baseline, {now.get(name, 'none')} here"
        for name in names
        if before.get(name) != now.get(name)
    ]


def regressions(baseline: Counts, now: Counts) -> list[str]:
    """Return what takes more than it may, in words."""
    same = not differences(baseline.versions, now.versions)
    found = []
    for operation in sorted(baseline.service):
        if operation not in now.service:
            found.append(f"{operation}: not counted any more")
            continue
        if same:
            before, after = float(baseline.service[operation]), float(now.service[operation])
        else:
            before, after = baseline.ratio(operation), now.ratio(operation)
        growth = after / before - 1
        if growth >= MOST_GROWTH:
            unit = "instructions" if same else "times the floor"
            found.append(f"{operation}: {before:,.2f} -> {after:,.2f} {unit} ({growth:+.1%})")
    return found


def table(counts: Counts, baseline: Counts | None) -> str:
    """Return the counts, a line each, with their ratio to the floor and to the baseline."""
    lines = [f"{'operation':<10} {'service':>12} {'floor':>12} {'ratio':>6} {'baseline':>9}"]
    for operation, number in counts.service.items():
        change = "-"
        if baseline is not None and operation in baseline.service:
            change = f"{number / baseline.service[operation] - 1:+.1%}"
        floor, ratio = counts.floor[operation], counts.ratio(operation)
        lines.append(f"{operation:<10} {number:>12,} {floor:>12,} {ratio:>6.2f} {change:>9}")
    return "\n".join(lines)
