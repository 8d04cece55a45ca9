"""The bare service beside the floors, the ORM app and foreign services, in turns."""

import asyncio
import concurrent.futures
import json
import re
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks import targets
from benchmarks.load import Load, Turn, turn
from benchmarks.report import FLOOR, SERVICE, Report, Row
from benchmarks.servers import (
    App,
    Project,
    Server,
    Stores,
    by_hand,
    gunicorn_of,
    same_means,
    service,
    serving,
)
from benchmarks.sites import Mint, Site, ask, connect, log_in, open_site, own_plan, read_foreign

PLAIN, ORM = "plain floor", "ORM by hand"
_NEW_TOKENS = 5_000
"""More than a turn of a second takes."""

_TAIL_CONNECTIONS = 100
_CALM_CONNECTIONS = 16
_CALM_SHARE = 0.25
_CALM_LATENCY = 0.002
_LOGIN_CLIENTS = 4
_STATEMENTS_OF = 20
_STATEMENT = re.compile(rb" LOG:  (?:execute [^:]+|statement): ")
_EXPORT = "/api/v1/items/export"
_EXPORT_ROWS = 100_000
_INSERT = """
    INSERT INTO items
        (id, owner_id, title, description, status, version, created_at, updated_at)
    SELECT uuidv7(), owner_id, 'Bernoulli number ' || n, description, 'active', 1, day, day
    FROM items, generate_series($2::int, $3::int) n,
        LATERAL (SELECT timestamptz '2026-01-01' + n * interval '1 second') AS days(day)
    WHERE id = $1
"""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Effort:
    """How often and how long to measure.

    Attributes:
        turns: Of a second, for the cost of operations.
        rounds: For everything that takes longer.
        seconds: Of load in a round.
        connections: Points of the growth by connections.
        rows: Points of the growth by rows.
    """

    turns: int
    rounds: int
    seconds: int
    connections: tuple[int, ...] = (1, 8, 32, 100, 500)
    rows: tuple[int, ...] = (1_000, 10_000, _EXPORT_ROWS, 1_000_000)


THOROUGH = Effort(turns=15, rounds=5, seconds=4)
SHORT = Effort(turns=9, rounds=3, seconds=2, connections=(1, 32, 100), rows=(1_000, _EXPORT_ROWS))
QUICK = Effort(turns=3, rounds=2, seconds=2, connections=(1, 32, 100), rows=(1_000, _EXPORT_ROWS))


@dataclass(frozen=True, slots=True)
class Bench:
    """The servers under measurement, and where the figures go.

    Attributes:
        sites: By the name of the server.
    """

    behind: Stores
    effort: Effort
    report: Report
    say: Say
    servers: dict[str, Server] = field(default_factory=dict)
    sites: dict[str, Site] = field(default_factory=dict)

    def add(self, name: str, unit: str, samples: dict[str, list[float]], to: str = "") -> None:
        """Add a row to the figures of the report."""
        row = Row(name, unit, samples, to)
        self.report.figures.append(row)
        self.say(f"{name}: {row.averages[0]:.2f} {row.verdict}")

    @property
    def own(self) -> tuple[Server, Site]:
        """Return the generated service and its accounts."""
        return self.servers[SERVICE], self.sites[SERVICE]


def measure(
    project: Project,
    behind: Stores,
    effort: Effort,
    folder: Path,
    report: Report,
    say: Say,
    foreign: Sequence[Path] = (),
) -> None:
    """Measure the service without modules."""
    bench = Bench(behind, effort, report, say)
    mint = Mint(behind.environment["APP_AUTH__SIGNING_KEYS"])
    apps = [
        service(project, behind),
        same_means("floor", project, behind),
        by_hand(PLAIN, "floor", project, behind),
        by_hand(ORM, "orm", project, behind),
    ]
    _starts(bench, apps[0], apps[-1], folder)
    with ExitStack() as stack:
        for app in apps:
            log = folder / f"{app.name}.log"
            server = stack.enter_context(serving(app, behind.database_pid, log=log))
            if app.name == SERVICE:
                site = mint.lasting(open_site(server.url, own_plan()))
            bench.servers[app.name], bench.sites[app.name] = server, site
        for path in foreign:
            plan, server = read_foreign(path)
            bench.servers[server.name] = server
            bench.sites[server.name] = open_site(server.url, plan)
        _costs(bench, mint)
        _compare_foreign(bench)
        _tails(bench)
        _statements(bench)
        _headers(bench)
        _tails_beside_logins(bench)
        _by_connections(bench)
        _by_rows(bench)


def _starts(bench: Bench, own: App, orm: App, folder: Path) -> None:
    """Measure starts, by the server's own command as the ORM app is started, and memory."""
    database = bench.behind.database_pid
    checked: list[float] = []
    seconds: dict[str, list[float]] = {SERVICE: [], ORM: []}
    memory: dict[str, list[float]] = {SERVICE: [], ORM: []}
    for _ in range(bench.effort.rounds):
        with serving(own, database, log=folder / "start.log") as server:
            checked.append(server.start_seconds)
            bare = gunicorn_of(server, own)
        for app in (bare, orm):
            with serving(app, database, log=folder / "start.log") as server:
                seconds[app.name].append(server.start_seconds)
                memory[app.name].append(server.memory_mib())
    bench.add(targets.START, "s", seconds, to=ORM)
    bench.add(targets.START_CHECKED, "s", {SERVICE: checked})
    bench.add(targets.MEMORY, "MiB", memory, to=ORM)


def _costs(bench: Bench, mint: Mint) -> None:
    """Measure processor time per request, by operation and by mix of tokens."""
    for operation, name in targets.OPERATIONS.items():
        sites = {server: site for server, site in bench.sites.items() if operation in site.plan}
        _cost(bench, name, {server: repeat(site.load(operation)) for server, site in sites.items()})
    own, site = [SERVICE, FLOOR, PLAIN, ORM], bench.sites[SERVICE]
    token = site.accounts[0].token
    _cost(bench, targets.ONE_ACCOUNT, dict.fromkeys(own, repeat(site.load("me", [token]))))
    tokens = mint.tokens(token)
    new = [
        site.load("me", list(islice(tokens, _NEW_TOKENS))) for _ in range(bench.effort.turns + 1)
    ]
    _cost(bench, targets.NEW_TOKENS, {server: iter(new) for server in own})


def _cost(bench: Bench, name: str, loads: dict[str, Iterator[Load]]) -> None:
    """Measure one line of the tables: a turn to warm up, and then turns by turns."""
    found: dict[str, list[Turn]] = {server: [] for server in loads}
    for _ in range(bench.effort.turns + 1):
        for server, each in loads.items():
            found[server].append(turn(bench.servers[server], next(each)))
    turns = {server: measured[1:] for server, measured in found.items()}
    cpu = Row(name, "µs", {k: [each.cpu_us for each in v] for k, v in turns.items()}, FLOOR)
    known = {k: v for k, v in turns.items() if bench.servers[k].database_pid}
    database = {k: [each.database_us for each in v] for k, v in known.items()}
    bench.report.cpu.append(cpu)
    if name != targets.OPERATIONS["health"]:
        bench.report.database.append(Row(name, "µs", database, FLOOR))
    rates = {k: round(statistics.median(each.rate for each in v)) for k, v in turns.items()}
    bench.say(f"{name}: {cpu.averages[0]:.2f} {cpu.verdict}, requests per second: {rates}")


def _compare_foreign(bench: Bench) -> None:
    for row in list(bench.report.cpu):
        for name in bench.servers.keys() - {SERVICE, FLOOR, PLAIN, ORM}:
            if name in row.samples and row.name != targets.OPERATIONS["health"]:
                samples = {key: row.samples[key] for key in (name, SERVICE)}
                of = f"{row.name}: {name}"
                bench.report.figures.append(Row(of, "µs of CPU", samples, SERVICE, of=name))


def _tails(bench: Bench) -> None:
    """Measure the tail of latency at many connections, after a second of warm-up."""
    found: dict[str, list[float]] = {}
    for _ in range(bench.effort.rounds):
        for name in (SERVICE, FLOOR, ORM):
            server, load = bench.servers[name], bench.sites[name].load("list")
            measured = turn(
                server, load, bench.effort.seconds, connections=_TAIL_CONNECTIONS, warm_up=1
            )
            found.setdefault(name, []).append(measured.p99_ms)
    bench.add(targets.TAIL, "ms", {k: found[k] for k in (SERVICE, FLOOR)}, to=FLOOR)
    bench.add(f"{targets.TAIL}, {ORM}", "ms", {SERVICE: found[SERVICE], ORM: found[ORM]}, to=ORM)


def _statements(bench: Bench) -> None:
    """Count the statements of a request that PostgreSQL logs, BEGIN and COMMIT included."""
    server, site = bench.own
    with closing(connect(server.url)) as client, _logged(bench.behind) as log:

        def count(name: str, send: Callable[[int], object]) -> None:
            # Connections that have been idle for a while are tested by statements before use.
            turn(server, site.load("me"), 0.1)
            counts: list[float] = []
            for number in range(_STATEMENTS_OF):
                before = log.stat().st_size
                send(number)
                counts.append(_logged_since(log, before))
            bench.add(name, "", {SERVICE: [min(counts)]})  # the others include such tests

        for operation, name in list(targets.OPERATIONS.items())[1:]:
            count(f"statements of {name}", partial(site.send, client, operation))
        count(
            targets.LOGIN_STATEMENTS,
            lambda number: log_in(client, site.plan, site.accounts[number].name),
        )


def _logged_since(log: Path, size: int) -> int:
    with log.open("rb") as file:
        file.seek(size)
        return len(_STATEMENT.findall(file.read()))


@contextmanager
def _logged(behind: Stores) -> Iterator[Path]:
    """Have PostgreSQL log all statements while the block runs."""
    for_all = ("ALTER SYSTEM SET log_statement = 'all'", "SELECT pg_reload_conf()")
    asyncio.run(_execute(behind.dsn, *for_all))
    try:
        yield behind.log
    finally:
        asyncio.run(_execute(behind.dsn, "ALTER SYSTEM RESET log_statement", for_all[1]))


async def _execute(dsn: str, *statements: str, values: Sequence[object] = ()) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await connection.execute(statement, *values)
    finally:
        await connection.close()


def _headers(bench: Bench) -> None:
    numbers: dict[str, list[float]] = {}
    sizes: dict[str, list[float]] = {}
    for name, server in bench.servers.items():
        path, token = bench.sites[name].load("me").targets[0]
        with closing(connect(server.url)) as client:
            client.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            headers = client.getresponse().getheaders()
        numbers[name] = [len(headers)]
        sizes[name] = [sum(len(key) + len(value) + 4 for key, value in headers)]
    bench.add(targets.HEADERS, "", numbers)
    bench.add(targets.HEADER_BYTES, "", sizes)


def _tails_beside_logins(bench: Bench) -> None:
    """Measure the list at a modest rate, alone and beside logins at full rate."""
    server, site = bench.own
    load, seconds = site.load("list"), bench.effort.seconds
    rate = _CALM_SHARE * turn(server, load).rate
    delay = max(0.0, _CALM_CONNECTIONS / rate - _CALM_LATENCY)

    def p99() -> float:
        return turn(server, load, seconds, connections=_CALM_CONNECTIONS, delay=delay).p99_ms

    alone, beside, logins = [], [], []
    for _ in range(bench.effort.rounds):
        alone.append(p99())
        with _logging_in(server, site) as counted:
            beside.append(p99())
        logins.append(counted() / seconds)
    bench.add(targets.TAIL_OF_LOGINS, "ms", {SERVICE: beside, "alone": alone}, to="alone")
    bench.add("logins meanwhile", "a second", {SERVICE: logins})


@contextmanager
def _logging_in(server: Server, site: Site) -> Iterator[Callable[[], int]]:
    """Log in over and over while the block runs; afterwards, return the number of logins."""
    over = threading.Event()

    def log_in_on(number: int) -> int:
        with closing(connect(server.url)) as client:
            done = 0
            while not over.is_set():
                log_in(client, site.plan, site.accounts[number].name)
                done += 1
        return done

    with concurrent.futures.ThreadPoolExecutor(_LOGIN_CLIENTS) as clients:
        futures = [clients.submit(log_in_on, number) for number in range(_LOGIN_CLIENTS)]
        try:
            yield lambda: sum(future.result() for future in futures)
        finally:
            over.set()


def _by_connections(bench: Bench) -> None:
    """Measure the growth of cost and tail by connections, each after a second of warm-up."""
    server, site = bench.own
    cpu: dict[str, list[float]] = {}
    tails: dict[str, list[float]] = {}
    for count in bench.effort.connections:
        for _ in range(bench.effort.rounds):
            found = turn(
                server, site.load("list"), bench.effort.seconds, connections=count, warm_up=1
            )
            cpu.setdefault(f"{count:,}", []).append(found.cpu_us)
            tails.setdefault(f"{count:,}", []).append(found.p99_ms)
    _add_growth(bench, "GET /items by connections", "µs of CPU", cpu)
    _add_growth(bench, "GET /items by connections: p99", "ms", tails)


def _by_rows(bench: Bench) -> None:
    """Measure the growth of two pages by the rows of their owner, and exports on the way."""
    server, site = bench.own
    owner = site.accounts[-1]
    first = Load("GET", [(site.plan["list"], owner.token)])
    deep, there = None, 0
    samples: dict[str, dict[str, list[float]]] = {"first page": {}, "a deep page": {}}
    for count in bench.effort.rows:
        values = (owner.item, there, count - 1)
        asyncio.run(_execute(bench.behind.dsn, _INSERT, values=values))
        asyncio.run(_execute(bench.behind.dsn, "VACUUM ANALYZE items"))
        there = count
        deep = deep or Load("GET", [(_middle(server, site.plan, owner.token), owner.token)])
        for name, load in zip(samples, (first, deep), strict=True):
            for _ in range(bench.effort.rounds):
                cost = turn(server, load).cpu_us
                samples[name].setdefault(f"{count:,}", []).append(cost)
        if count == _EXPORT_ROWS:
            _exports(bench, owner.token)
    for name, points in samples.items():
        _add_growth(bench, f"GET /items by rows of the owner, {name}", "µs of CPU", points)


def _middle(server: Server, plan: Mapping[str, Any], token: str) -> str:
    """Return the path of a page in the middle; rows that are newer put it ever deeper."""
    base: str = plan["list"]
    path = base
    with closing(connect(server.url)) as client:
        for _ in range(25):
            page = json.loads(ask(client, "GET", path, token=token))
            path = f"{base}&cursor={page['next_cursor']}"
    return path


def _exports(bench: Bench, token: str) -> None:
    seconds: dict[str, list[float]] = {}
    growth: dict[str, list[float]] = {}
    for number in range(bench.effort.rounds + 1):
        for name in (SERVICE, FLOOR):
            server = bench.servers[name]
            before, started = server.reset_peak(), time.perf_counter()
            with closing(connect(server.url)) as client:
                ask(client, "GET", _EXPORT, token=token)
            if number:
                seconds.setdefault(name, []).append(time.perf_counter() - started)
                growth.setdefault(name, []).append(server.peak_mib() - before)
    bench.add(targets.EXPORT, "s", seconds, to=FLOOR)
    bench.add(targets.EXPORT_GROWTH, "MiB", growth)


def _add_growth(bench: Bench, name: str, unit: str, points: dict[str, list[float]]) -> None:
    bench.report.growth.append(Row(name, unit, points))
    medians = {key: round(statistics.median(values), 1) for key, values in points.items()}
    bench.say(f"{name}: {medians}")
