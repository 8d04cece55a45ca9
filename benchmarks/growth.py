"""How costs grow: with rows, with connections, with the keys of rate limits."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks import load
from benchmarks.measures import Curve
from benchmarks.projects import Project, Surroundings, base_environment
from benchmarks.rows import Say, cost, operations
from benchmarks.serving import App, Server, serving

_ROWS = (1_000, 10_000, 100_000, 1_000_000)
_CONNECTIONS = (1, 8, 32, 100, 500)
_KEYS = (1, 100, 10_000, 100_000)


def measure(
    app: App,
    project: Project,
    behind: Surroundings,
    seconds: float,
    folder: Path,
    say: Say,
    *,
    quick: bool,
) -> list[Curve]:
    """Return the curves; a quick run leaves out the ends that take long."""
    with serving(app, log=folder / f"{app.name}.log") as server:
        curves = _connections(server, behind, seconds, _CONNECTIONS[: 3 if quick else None], say)
        curves += _rows(server, project, behind, seconds, _ROWS[: 2 if quick else None], say)
    curves.append(_keys(project, _KEYS[: 3 if quick else None], say))
    return curves


def _connections(
    server: Server, behind: Surroundings, seconds: float, counts: Sequence[int], say: Say
) -> list[Curve]:
    request, _ = operations(behind)["GET /items, 20 rows"]
    cpu, slowest = [], []
    for count in counts:
        before = server.cpu_seconds()
        answered = load.send(server.url, request, seconds, connections=count)
        used = server.cpu_seconds() - before
        cpu.append((float(count), used / answered.requests * 1e6))
        slowest.append((float(count), answered.p99_ms))
        say(f"{count} connections: {cpu[-1][1]:.0f} µs, p99 {answered.p99_ms:.1f} ms")
    name = "GET /items by connections"
    return [
        Curve(name, "connections", "µs of CPU", tuple(cpu)),
        Curve(f"{name}, p99", "connections", "ms", tuple(slowest)),
    ]


def _rows(
    server: Server,
    project: Project,
    behind: Surroundings,
    seconds: float,
    counts: Sequence[int],
    say: Say,
) -> list[Curve]:
    """The first page, and one from the middle, of a list that gets longer and longer."""
    bearer = {"Authorization": f"Bearer {behind.facts['grace_token']}"}
    first, deep = [], []
    for count in counts:
        cursor = _grown(project, behind, count)
        page = load.Request("GET", "/api/v1/items?limit=20", bearer)
        middle = load.Request("GET", f"/api/v1/items?limit=20&cursor={cursor}", bearer)
        for request in (page, middle):
            load.send(server.url, request, 1)
        first.append((float(count), cost(server, page, seconds).cpu_us))
        deep.append((float(count), cost(server, middle, seconds).cpu_us))
        say(
            f"{count:,} rows: {first[-1][1]:.0f} µs the first page, {deep[-1][1]:.0f} µs a deep one"
        )
    return [
        Curve("GET /items, first page", "rows of the owner", "µs of CPU", tuple(first)),
        Curve("GET /items, a page in the middle", "rows of the owner", "µs of CPU", tuple(deep)),
    ]


def _grown(project: Project, behind: Surroundings, count: int) -> str:
    """Let an owner have this many items, and return a cursor to the middle of them."""
    return subprocess.run(
        [project.python, "-m", "benchmarks.inside.grow", behind.facts["grace_id"], str(count)],
        cwd=project.directory,
        env={**base_environment(project), **behind.environment},
        capture_output=True,
        check=True,
        text=True,
    ).stdout.strip()


def _keys(project: Project, counts: Sequence[int], say: Say) -> Curve:
    output = subprocess.run(
        [project.python, "-m", "benchmarks.inside.limits", json.dumps(list(counts))],
        cwd=project.directory,
        env=base_environment(project),
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    points = tuple((float(keys), micros) for keys, micros in json.loads(output))
    say(f"rate limits by keys: {points}")
    return Curve("a request counted by the rate limiter", "keys", "µs of CPU", points)
