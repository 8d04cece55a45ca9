"""Servers under measurement: started by one command, asked by one client, watched in `/proc`."""

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
_TICKS = os.sysconf("SC_CLK_TCK")
_START_SECONDS = 60
_STOP_SECONDS = 15
_POLL_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class App:
    """Something that can be served.

    Attributes:
        name: What reports call it.
        command: What serves it, on the port of the setting `APP_SERVER__PORT`.
        environment: What it finds in its environment.
        directory: Where it runs.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    directory: Path


@dataclass(frozen=True, slots=True)
class Server:
    """An app that answers.

    Attributes:
        app: Which.
        port: Where.
        pid: The process that watches over the workers.
        start_seconds: What it took from the command to the first answer.
    """

    app: App
    port: int
    pid: int
    start_seconds: float

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{HOST}:{self.port}"

    @property
    def workers(self) -> list[int]:
        """The processes that answer."""
        path = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def cpu_seconds(self) -> float:
        """What the workers have used of the processors so far, in all their threads."""
        return sum(_cpu_seconds(Path(f"/proc/{pid}/stat").read_text()) for pid in self.workers)

    def memory_mib(self) -> float:
        """What the first worker keeps in memory, in MiB."""
        return _kibibytes(self._status(), "VmRSS") / 1024

    def peak_mib(self) -> float:
        """The most that the first worker has kept in memory since `forget_peak`, in MiB."""
        return _kibibytes(self._status(), "VmHWM") / 1024

    def forget_peak(self) -> None:
        """Let the peak begin at what there is now (proc(5), `clear_refs`)."""
        Path(f"/proc/{self.workers[0]}/clear_refs").write_text("5")

    def _status(self) -> str:
        return Path(f"/proc/{self.workers[0]}/status").read_text()


@contextmanager
def serving(app: App, *, log: Path, workers: int = 1) -> Iterator[Server]:
    """Serve an app while the block runs.

    Args:
        app: What to serve.
        log: File for all that it writes.
        workers: Number of processes.

    Raises:
        RuntimeError: It does not answer.
    """
    port = _free_port()
    own = {"APP_SERVER__PORT": str(port), "APP_SERVER__WORKERS": str(workers)}
    words = [word.format(port=port, workers=workers) for word in app.command]
    started = time.perf_counter()
    with (
        log.open("ab") as output,
        subprocess.Popen(
            words,
            cwd=app.directory,
            env={**app.environment, **own},
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        ) as process,
    ):
        try:
            _wait_for_answer(port, process, log)
            yield Server(app, port, process.pid, time.perf_counter() - started)
        finally:
            _stop(process)


def get(url: str, path: str, token: str) -> int:
    """Send one GET, read the answer to its end, and return how many bytes it has.

    Raises:
        RuntimeError: The status is not 200.
    """
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=120)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        size = 0
        while part := response.read(65_536):
            size += len(part)
    finally:
        connection.close()
    if response.status != http.HTTPStatus.OK:
        raise RuntimeError(f"{path} answers {response.status}")
    return size


def _wait_for_answer(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection(HOST, port, timeout=5)
        try:
            connection.request("GET", "/health")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            time.sleep(_POLL_SECONDS)
        else:
            return
        finally:
            connection.close()
    raise RuntimeError(f"No answer from {process.args!r}: see {log}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind((HOST, 0))
        port: int = chosen.getsockname()[1]
        return port


def _cpu_seconds(stat: str) -> float:
    """User and system time of a process (proc(5)); its name, in parentheses, may hold anything."""
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _kibibytes(status: str, name: str) -> int:
    for line in status.splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise ValueError(f"{name} is not in /proc/<pid>/status")
