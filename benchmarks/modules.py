"""Modules beside the same by hand: large files by S3, live events by WebSockets and Redis."""

import http.client
import json
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from benchmarks import targets
from benchmarks.report import FLOOR, SERVICE, Report, Row
from benchmarks.servers import App, Project, Server, Stores, same_means, service, serving, used
from benchmarks.sites import Mint, connect, open_site, own_plan

MEBIBYTE = 1024 * 1024
_FILES = "/api/v1/files"
_CHANNEL = "/api/v1/ws/lobby"
_PART_BYTES = 8 * MEBIBYTE
_DELIVERIES = 30_000
_SPARE_FILES = 200
_BOUNDARY = "boundary-of-the-benchmarks"
_LINE = b"Note G, with a table and diagrams of the engine's operations.\r\n"
_NUMBER = b"%015d\n"
_REST = (_LINE * (MEBIBYTE // len(_LINE) + 1))[: MEBIBYTE - len(_NUMBER % 0)]


class OpenFilesError(Exception):
    """A process may not have as many connections as there are to be clients."""


@dataclass(frozen=True, slots=True)
class Form:
    """The parts of a body around the content of a file."""

    media_type: str
    head: bytes = b""
    tail: bytes = b""


MULTIPART = Form(
    f"multipart/form-data; boundary={_BOUNDARY}",
    (
        f"--{_BOUNDARY}\r\n"
        'Content-Disposition: form-data; name="file"; filename="large.txt"\r\n'
        "Content-Type: text/plain\r\n\r\n"
    ).encode(),
    f"\r\n--{_BOUNDARY}--\r\n".encode(),
)
BARE = Form("text/plain")


@dataclass(frozen=True, slots=True)
class Modules:
    """The project with modules, its stores, and where the figures go."""

    project: Project
    behind: Stores
    folder: Path
    report: Report
    say: Callable[[str], None]
    rounds: int

    @contextmanager
    def both(self, own: App, floor: App) -> Iterator[tuple[Server, Server, str]]:
        """Serve the service and a floor; yield both, and a token of an account."""
        with ExitStack() as stack:
            ours, by_hand = (
                stack.enter_context(
                    serving(app, self.behind.database_pid, log=self.folder / f"{app.name}.log")
                )
                for app in (own, floor)
            )
            mint = Mint(self.behind.environment["APP_AUTH__SIGNING_KEYS"])
            site = mint.lasting(open_site(ours.url, own_plan(), accounts=1))
            yield ours, by_hand, site.accounts[0].token

    def add(self, name: str, unit: str, samples: dict[str, list[float]], to: str = "") -> None:
        """Add a row to the figures of the report."""
        row = Row(name, unit, samples, to)
        self.report.figures.append(row)
        self.say(f"{name}: {row.averages[0]:.2f} {row.verdict}")


def measure_files(modules: Modules, mebibytes: int) -> None:
    """Send a large file and fetch it, in turns: time, and growth of memory."""
    most, part = mebibytes * MEBIBYTE, str(_PART_BYTES)
    own = service(
        modules.project,
        modules.behind,
        APP_STORAGE__PART_SIZE=part,
        APP_STORAGE__MAX_FILE_BYTES=str(most),
        APP_STORAGE__QUOTA_BYTES=str(2 * most + MEBIBYTE),
    )
    floor = same_means("store", modules.project, modules.behind, APP_STORAGE__PART_SIZE=part)
    uploads: dict[str, list[float]] = {SERVICE: [], FLOOR: []}
    downloads: dict[str, list[float]] = {SERVICE: [], FLOOR: []}
    growth: dict[str, list[float]] = {SERVICE: [], FLOOR: []}
    with modules.both(own, floor) as (ours, by_hand, token):
        forms = ((ours, MULTIPART), (by_hand, BARE))
        for server, form in forms:
            # A client of the store is made once: that is no growth.
            delete(server.url, token, upload(server.url, token, form, 1))
        before = {server.name: server.reset_peak() for server, _ in forms}
        for _ in range(max(2, (modules.rounds + 1) // 2)):
            for server, form in forms:
                server.reset_peak()
                started = time.perf_counter()
                file_id = upload(server.url, token, form, mebibytes)
                between = time.perf_counter()
                download(server.url, token, file_id, mebibytes)
                uploads[server.name].append(between - started)
                downloads[server.name].append(time.perf_counter() - between)
                growth[server.name].append(server.peak_mib() - before[server.name])
                delete(server.url, token, file_id)
    modules.add(targets.UPLOAD, "s", uploads, to=FLOOR)
    modules.add(targets.DOWNLOAD, "s", downloads, to=FLOOR)
    modules.add(targets.FILE_GROWTH, "MiB", growth)


def blocks(mebibytes: int) -> Iterator[bytes]:
    """Yield a text, a MiB of it at a time."""
    for number in range(mebibytes):
        yield _NUMBER % number + _REST


def upload(url: str, token: str, form: Form, mebibytes: int) -> str:
    """Send a file that is never in memory as a whole, and return its id."""
    length = len(form.head) + mebibytes * MEBIBYTE + len(form.tail)
    headers = {"Content-Type": form.media_type, "Content-Length": str(length)}
    body = chain((form.head,), blocks(mebibytes), (form.tail,))
    with closing(connect(url)) as client:
        response = _asked(client, "POST", _FILES, token, headers, body)
        file_id: str = json.load(response)["id"]
    return file_id


def download(url: str, token: str, file_id: str, mebibytes: int) -> None:
    """Fetch a file and compare it with the one that was sent.

    Raises:
        RuntimeError: It differs.
    """
    with closing(connect(url)) as client:
        response = _asked(client, "GET", f"{_FILES}/{file_id}/content", token)
        # Compared and not hashed: the client shares the machine with the server.
        same = all(response.read(MEBIBYTE) == block for block in blocks(mebibytes))
        if not same or response.read(1):
            raise RuntimeError(f"{url} returns another file than it was sent")


def delete(url: str, token: str, file_id: str) -> None:
    """Delete a file."""
    with closing(connect(url)) as client:
        _asked(client, "DELETE", f"{_FILES}/{file_id}", token).read()


def _asked(
    client: http.client.HTTPConnection,
    method: str,
    path: str,
    token: str,
    headers: dict[str, str] | None = None,
    body: Iterator[bytes] | None = None,
) -> http.client.HTTPResponse:
    """Send a request, and return its response with the body unread.

    Raises:
        RuntimeError: It was refused.
    """
    client.request(method, path, body, {"Authorization": f"Bearer {token}", **(headers or {})})
    response = client.getresponse()
    if response.status >= http.HTTPStatus.BAD_REQUEST:
        raise RuntimeError(f"{method} {path} answers {response.status}: {response.read(1000)!r}")
    return response


@dataclass(frozen=True, slots=True)
class Crowd:
    """Clients of one server, in a process of their own (`benchmarks.listeners`)."""

    server: Server
    process: "subprocess.Popen[str]"
    clients: int
    delivery_us: list[float] = field(default_factory=list)
    until_all_ms: list[float] = field(default_factory=list)

    def turn(self, messages: int) -> None:
        """Have messages sent one after the other, and record their cost."""
        before = self.server.cpu()[0]
        seconds = self.hear(messages)
        cpu = used(before, self.server.cpu()[0])
        self.delivery_us.append(cpu / (messages * self.clients) * 1e6)
        self.until_all_ms.append(statistics.median(seconds) * 1e3)

    def hear(self, messages: int) -> list[float]:
        """Have messages sent; return for each the seconds until the last client has it.

        Raises:
            RuntimeError: The clients have exited.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(f"{messages}\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the clients of {self.server.name} have exited; see above")
        seconds: list[float] = json.loads(line)
        return seconds


def measure_events(modules: Modules, clients: int) -> None:
    """Send messages to a channel of many clients: cost of a delivery, time until all have it."""
    everybody = str(clients + 1)
    own = service(
        modules.project,
        modules.behind,
        APP_REALTIME__CONNECTIONS=everybody,
        APP_REALTIME__CONNECTIONS_PER_USER=everybody,
        APP_REALTIME__MESSAGES_PER_SECOND="10000",
        APP_REALTIME__BURST="100000",
    )
    floor = same_means("sockets", modules.project, modules.behind)
    messages = max(1, _DELIVERIES // clients)
    with modules.both(own, floor) as (*servers, token), ExitStack() as stack:
        crowds = [
            stack.enter_context(crowd(modules.project, server, token, clients))
            for server in servers
        ]
        for each in crowds:
            each.hear(3)
        for _ in range(modules.rounds):
            for each in crowds:
                each.turn(messages)
    costs = {each.server.name: each.delivery_us for each in crowds}
    times = {each.server.name: each.until_all_ms for each in crowds}
    modules.add(targets.DELIVERY, "µs of CPU", costs, to=FLOOR)
    modules.add(targets.DELIVERED, "ms", times, to=FLOOR)


@contextmanager
def crowd(project: Project, server: Server, token: str, clients: int) -> Iterator[Crowd]:
    """Have clients connected to a server while the block runs.

    Raises:
        RuntimeError: They can't connect.
    """
    url = server.url.replace("http://", "ws://", 1) + _CHANNEL
    with subprocess.Popen(
        [project.program("python"), "-m", "benchmarks.listeners", url, token, str(clients)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RuntimeError(f"{clients} clients can't connect to {server.name}; see above")
        try:
            yield Crowd(server, process, clients)
        finally:
            with suppress(BrokenPipeError):
                process.stdin.close()


def require_open_files(clients: int) -> None:
    """Raise the limit of open files for as many connections; processes started later inherit it.

    Raises:
        OpenFilesError: The hard limit is too low.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = clients + _SPARE_FILES
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise OpenFilesError(
            f"{clients:,} WebSockets take {wanted:,} open files; the limit is {hard:,} "
            "(`ulimit -Hn`). Set fewer by `--clients`."
        )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
