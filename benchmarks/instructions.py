"""Instructions of a request by Callgrind, which other load on the machine does not change.

A count depends on the interpreter's build and on the libraries. With those of the baseline, counts
are compared; with others, the ratio to the floor, counted in the same run.
"""

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import servers
from benchmarks.servers import App, Project, Stores, same_means, service, serving
from benchmarks.targets import OPERATIONS

BASELINE = Path(__file__).with_name("baseline.json")
MOST_GROWTH = 0.05
"""Growth of an operation, beside the baseline, that fails the check."""

TIMES = 100
_SECONDS = 900
_NAME = re.compile(r"^desc: Trigger: dump (\w+)$", re.MULTILINE)
_TOTAL = re.compile(r"^totals: (\d+)$", re.MULTILINE)
_MATTER = (
    *("python", "machine", "asyncpg", "cryptography", "fastapi", "greenlet", "httptools"),
    *("opentelemetry-api", "pydantic", "pydantic_core", "pyjwt", "sqlalchemy", "starlette"),
    *("structlog", "uuid-utils", "uvicorn", "uvloop"),
)


@dataclass(frozen=True, slots=True)
class Counts:
    """Instructions of one request, by operation, of the service and of the floor."""

    versions: dict[str, str]
    service: dict[str, int]
    floor: dict[str, int]

    def ratio(self, operation: str) -> float:
        """Return how many times the floor's instructions the service takes."""
        return self.service[operation] / self.floor[operation]


def count(
    project: Project,
    behind: Stores,
    folder: Path,
    only: Sequence[str] = tuple(OPERATIONS),
    *,
    layers: bool = False,
) -> Counts:
    """Count operations of a project and of the floor; with `layers`, also without each layer."""
    from benchmarks.sites import Mint, open_site, own_plan

    own, floor = service(project, behind), same_means("floor", project, behind)
    with serving(own, behind.database_pid, log=folder / "service.log") as server:
        site = open_site(server.url, own_plan())
    site = Mint(behind.environment["APP_AUTH__SIGNING_KEYS"]).lasting(site)
    loads = folder / "loads.json"
    loads.write_text(json.dumps({name: asdict(site.load(name)) for name in only}))
    return Counts(
        mattering(servers.versions(project)),
        _counted(own, "app.asgi:app", project, loads, *(["--layers"] if layers else [])),
        _counted(floor, "benchmarks.apps.floor:app", project, loads),
    )


def mattering(versions: Mapping[str, str]) -> dict[str, str]:
    """Return the versions that a count depends on."""
    return {name: versions[name] for name in _MATTER if name in versions}


def _counted(app: App, module: str, project: Project, loads: Path, *options: str) -> dict[str, int]:
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        callgrind = ("valgrind", "--tool=callgrind", "--instr-atstart=no")
        script = (project.program("python"), "-m", "benchmarks.count", module, str(loads))
        log = Path(place, "log")
        with log.open("w") as output:
            finished = subprocess.run(
                [*callgrind, f"--callgrind-out-file={place}/count", *script, *options],
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
        profiles = (parse(path.read_text()) for path in sorted(Path(place).glob("count.*")))
        return dict(filter(None, profiles))


def parse(profile: str) -> tuple[str, int] | None:
    """Return the operation that a profile of Callgrind is about, and its instructions a request."""
    name, total = _NAME.search(profile), _TOTAL.search(profile)
    if name is None or total is None:
        return None
    return name[1], int(total[1]) // TIMES


def layers_table(counts: Counts) -> str:
    """Return the instructions of each layer of middleware, by operation, the most first.

    Args:
        counts: Of each operation, and of `<operation>__<layer>` without that layer.
    """
    lines = []
    for operation, total in counts.service.items():
        if "__" in operation:
            continue
        floor, prefix = counts.floor[operation], f"{operation}__"
        costs = {
            name.removeprefix(prefix): total - number
            for name, number in counts.service.items()
            if name.startswith(prefix)
        }
        costs["routing, dependencies, the operation"] = total - sum(costs.values())
        lines.append(f"{operation}: {total:,}, {total / floor:.2f} times the floor's")
        lines += [
            f"  {number:>10,} {number / floor:>6.2f}  {name}"
            for name, number in sorted(costs.items(), key=lambda each: -each[1])
        ]
    return "\n".join(lines)


def store(counts: Counts, path: Path = BASELINE) -> None:
    """Make counts the baseline."""
    path.write_text(json.dumps(asdict(counts), indent=2) + os.linesep, encoding="utf-8")


def load(path: Path = BASELINE) -> Counts:
    """Return the baseline."""
    return Counts(**json.loads(path.read_text(encoding="utf-8")))


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the versions that differ, in words."""
    names = sorted({*before, *now})
    return [
        f"{name}: {before.get(name, 'none')} in the baseline, {now.get(name, 'none')} here"
        for name in names
        if before.get(name) != now.get(name)
    ]


def regressions(baseline: Counts, now: Counts) -> list[str]:
    """Return the operations that take more than they may, in words."""
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
