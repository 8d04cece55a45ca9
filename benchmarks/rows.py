"""The table: each operation of the service beside the same of the floor, in turns."""

import concurrent.futures
import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from benchmarks import load
from benchmarks.measures import Row, Samples
from benchmarks.projects import Surroundings
from benchmarks.serving import App, Server, get, serving

_LOGIN_CLIENTS = 4
_SHARE = 0.7
_MODEST_SHARE = 0.25
_CALM_CONNECTIONS = 16
_TURN_SECONDS = 1
"""Short: what else runs on a machine changes from second to second, and is to meet all alike."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure, and how much.

    Attributes:
        rounds: How often a figure is taken; the apps take turns.
        seconds: Of load, each time; where it can be, in turns of one second.
        export: Rows of the list that is exported.
        mebibytes: Size of the file that goes in and out.
        clients: WebSockets that hear what is said.
    """

    rounds: int
    seconds: float
    export: int
    mebibytes: int
    clients: int

    @property
    def turns(self) -> int:
        """Turns of a second that make up all rounds."""
        return round(self.rounds * self.seconds / _TURN_SECONDS)


THOROUGH = Effort(rounds=5, seconds=3, export=100_000, mebibytes=1024, clients=1_000)
QUICK = Effort(rounds=2, seconds=1, export=10_000, mebibytes=64, clients=100)


@dataclass(frozen=True, slots=True)
class Apps:
    """What is measured.

    Attributes:
        service: The generated service.
        floor: What does the same, by hand.
        orm: The usual way, by hand.
    """

    service: App
    floor: App
    orm: App


@dataclass(frozen=True, slots=True)
class Cost:
    """What an operation costs, once measured.

    Attributes:
        cpu_us: Processor time of a request, in microseconds.
        rate: Requests in a second.
    """

    cpu_us: float
    rate: float


Say = Callable[[str], None]


def measure(apps: Apps, behind: Surroundings, effort: Effort, folder: Path, say: Say) -> list[Row]:
    """Return the table."""
    rows = _starts(apps, effort, folder, say)
    with ExitStack() as stack:
        service, floor, orm = (
            stack.enter_context(serving(app, log=folder / f"{app.name}.log"))
            for app in (apps.service, apps.floor, apps.orm)
        )
        costs, top = _operations(service, floor, orm, behind, effort, say)
        rows = costs + rows
        rows += _exports(service, floor, behind, effort, say)
        rows.append(_latency(service, floor, behind, effort, top, say))
        rows.append(_logins(service, behind, effort, top["service"], say))
    rows.append(_workers(apps.service, behind, effort, folder, say))
    return rows


def operations(behind: Surroundings) -> dict[str, tuple[load.Request, float]]:
    """Return the requests by the names of their rows, each with the ratio to reach."""
    facts = behind.facts
    bearer = {"Authorization": f"Bearer {facts['ada_token']}"}
    item = f"/api/v1/items/{facts['ada_item']}"
    new = '{"title": "Bernoulli number", "description": "Note G"}'
    create = load.Request("POST", "/api/v1/items", bearer, body=new)
    return {
        "GET /health": (load.Request("GET", "/health"), 1.5),
        "GET /users/me": (load.Request("GET", "/api/v1/users/me", bearer), 1.5),
        "GET /items, 20 rows": (load.Request("GET", "/api/v1/items?limit=20", bearer), 1.5),
        "GET /items/{id}": (load.Request("GET", item, bearer), 1.5),
        "POST /items": (create, 1.6),
    }


def cost(server: Server, request: load.Request, seconds: float) -> Cost:
    """Send a request as fast as the server answers, and return what one costs it.

    Raises:
        RuntimeError: Some were refused.
    """
    before = server.cpu_seconds()
    answered = load.send(server.url, request, seconds)
    used = server.cpu_seconds() - before
    if answered.failures or not answered.requests:
        raise RuntimeError(f"{server.app.name}: {answered} for {request.method} {request.path}")
    return Cost(used / answered.requests * 1e6, answered.rate)


def _operations(
    service: Server, floor: Server, orm: Server, behind: Surroundings, effort: Effort, say: Say
) -> tuple[list[Row], dict[str, float]]:
    """Measure each operation, and return with the rows the top rates of the list."""
    rows, top = [], {}
    for name, (request, at_most) in operations(behind).items():
        servers = {"service": service, "floor": floor}
        if request.method == "GET" and "{id}" not in name:
            servers["orm"] = orm
        for server in servers.values():
            load.send(server.url, request, 1)
        found: dict[str, list[Cost]] = {kind: [] for kind in servers}
        for _ in range(effort.turns):
            for kind, server in servers.items():
                found[kind].append(cost(server, request, _TURN_SECONDS))
        samples = {k: Samples(tuple(each.cpu_us for each in v)) for k, v in found.items()}
        others = {"orm": samples["orm"]} if "orm" in samples else {}
        row = Row(name, "µs of CPU", samples["service"], samples["floor"], at_most, others=others)
        rows.append(row)
        rates = {k: Samples(tuple(each.rate for each in v)).median for k, v in found.items()}
        if name.startswith("GET /items,"):
            top = rates
        say(f"{name}: {row.ratio:.2f} ({samples['service'].median:.0f} µs, {rates})")
    return rows, top


def _exports(
    service: Server, floor: Server, behind: Surroundings, effort: Effort, say: Say
) -> list[Row]:
    token, path = behind.facts["grace_token"], "/api/v1/items/export"
    seconds: dict[str, list[float]] = {service.app.name: [], floor.app.name: []}
    growth: dict[str, list[float]] = {service.app.name: [], floor.app.name: []}
    for server in (service, floor):
        get(server.url, path, behind.facts["ada_token"])
    for _ in range(effort.rounds):
        for server in (service, floor):
            server.forget_peak()
            before, started = server.memory_mib(), time.perf_counter()
            get(server.url, path, token)
            seconds[server.app.name].append(time.perf_counter() - started)
            growth[server.app.name].append(server.peak_mib() - before)
    rows = [
        Row(
            f"GET /items/export, {behind.facts['many']:,} rows",
            "s",
            Samples(tuple(seconds[service.app.name])),
            Samples(tuple(seconds[floor.app.name])),
            1.3,
        ),
        Row(
            "the same: growth of memory",
            "MiB",
            Samples(tuple(growth[service.app.name])),
            Samples((16.0,)),
            1.0,
            against="16 MiB",
            remark="the worker's peak above what it had before",
        ),
    ]
    for row in rows:
        say(f"{row.name}: {row.ratio:.2f} ({row.service.values})")
    return rows


def _latency(
    service: Server,
    floor: Server,
    behind: Surroundings,
    effort: Effort,
    top: dict[str, float],
    say: Say,
) -> Row:
    """Each server at its own share of its own top rate."""
    request, _ = operations(behind)["GET /items, 20 rows"]
    found: dict[str, list[float]] = {"service": [], "floor": []}
    for _ in range(effort.rounds):
        for kind, server in (("service", service), ("floor", floor)):
            delay = load.delay_for(_SHARE * top[kind], _CALM_CONNECTIONS, 4.0)
            answered = load.send(
                server.url,
                request,
                effort.seconds,
                connections=_CALM_CONNECTIONS,
                delay_ms=delay,
            )
            found[kind].append(answered.p99_ms)
    row = Row(
        "GET /items: p99 at 70 % of the top rate",
        "ms",
        Samples(tuple(found["service"])),
        Samples(tuple(found["floor"])),
        1.5,
    )
    say(f"{row.name}: {row.ratio:.2f}")
    return row


def _logins(service: Server, behind: Surroundings, effort: Effort, top: float, say: Say) -> Row:
    """The list at a modest rate, alone and beside logins that follow each other at once."""
    request, _ = operations(behind)["GET /items, 20 rows"]
    delay = load.delay_for(_MODEST_SHARE * top, _CALM_CONNECTIONS, 2.0)

    def p99() -> float:
        return load.send(
            service.url, request, effort.seconds, connections=_CALM_CONNECTIONS, delay_ms=delay
        ).p99_ms

    alone, beside, logins = [], [], 0
    for _ in range(effort.rounds):
        alone.append(p99())
        with _logging_in(service.url, behind.facts["password"]) as counted:
            beside.append(p99())
        logins += counted()
    row = Row(
        "GET /items: p99 while logins run at full rate",
        "ms",
        Samples(tuple(beside)),
        Samples(tuple(alone)),
        2.0,
        against="without logins",
        remark=f"{logins / effort.rounds / effort.seconds:.0f} logins a second",
    )
    say(f"{row.name}: {row.ratio:.2f}")
    return row


@contextmanager
def _logging_in(url: str, password: str) -> Iterator[Callable[[], int]]:
    """Log in over and over while the block runs; afterwards tells how often it went well."""
    over = threading.Event()
    body = urlencode({"grant_type": "password", "username": "grace", "password": password})
    headers = {"Content-Type": "application/x-www-form-urlencoded"}

    def log_in() -> int:
        connection, done = http.client.HTTPConnection(url.removeprefix("http://")), 0
        try:
            while not over.is_set():
                connection.request("POST", "/api/v1/auth/token", body, headers)
                response = connection.getresponse()
                response.read()
                done += response.status == http.HTTPStatus.OK
        finally:
            connection.close()
        return done

    with concurrent.futures.ThreadPoolExecutor(_LOGIN_CLIENTS) as clients:
        futures = [clients.submit(log_in) for _ in range(_LOGIN_CLIENTS)]
        try:
            yield lambda: sum(future.result() for future in futures)
        finally:
            over.set()


def _starts(apps: Apps, effort: Effort, folder: Path, say: Say) -> list[Row]:
    seconds: dict[str, list[float]] = {"service": [], "orm": []}
    memory: dict[str, list[float]] = {"service": [], "orm": []}
    for _ in range(effort.rounds):
        for kind, app in (("service", apps.service), ("orm", apps.orm)):
            with serving(app, log=folder / f"{app.name}.log") as server:
                seconds[kind].append(server.start_seconds)
                memory[kind].append(server.memory_mib())
    rows = [
        Row(
            name,
            unit,
            Samples(tuple(found["service"])),
            Samples(tuple(found["orm"])),
            1.3,
            against="ORM by hand",
        )
        for name, unit, found in (
            ("start to first answer", "s", seconds),
            ("memory of an idle worker", "MiB", memory),
        )
    ]
    for row in rows:
        say(f"{row.name}: {row.ratio:.2f}")
    return rows


def _workers(app: App, behind: Surroundings, effort: Effort, folder: Path, say: Say) -> Row:
    request, _ = operations(behind)["GET /users/me"]
    rates: dict[int, list[float]] = {1: [], 2: []}
    with ExitStack() as stack:
        servers = {
            count: stack.enter_context(serving(app, log=folder / f"{app.name}.log", workers=count))
            for count in rates
        }
        for _ in range(effort.turns):
            for count, server in servers.items():
                answered = load.send(server.url, request, _TURN_SECONDS)
                rates[count].append(answered.rate)
    row = Row(
        "GET /users/me: throughput of 2 workers",
        "requests a second",
        Samples(tuple(rates[2])),
        Samples(tuple(rates[1])),
        1.8,
        more_is_better=True,
        against="1 worker",
        remark="load and database take processors, too",
    )
    say(f"{row.name}: {row.ratio:.2f}")
    return row
