"""Load on a server, from wrk."""

import json
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

SCRIPT = Path(__file__).with_name("load.lua")
CONNECTIONS = 32
_GRACE_SECONDS = 30


class LoadGeneratorMissingError(Exception):
    """There is no wrk on this machine."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request that is sent over and over.

    Attributes:
        method: Such as `GET`.
        path: With its query.
        headers: Those that go with it, such as `Authorization`.
        media_type: What the body is.
        body: None if empty.
    """

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    media_type: str = "application/json"
    body: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of sending a request for a while.

    Attributes:
        requests: How many were answered.
        seconds: How long it took.
        failures: Answers that were none, or had a status of 400 or more.
        p50_ms: Half of the answers took no longer than this.
        p99_ms: 99 of 100 took no longer than this.
    """

    requests: int
    seconds: float
    failures: int
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """Answers in a second."""
        return self.requests / self.seconds


def require_wrk() -> None:
    """Pass if there is a load generator.

    Raises:
        LoadGeneratorMissingError: There is none.
    """
    if shutil.which("wrk") is None:
        raise LoadGeneratorMissingError(
            "The load comes from wrk, which is not on this machine: `apt-get install wrk` or "
            "`brew install wrk`. Counts of instructions need no load: `python -m benchmarks count`."
        )


def command(
    url: str, request: Request, seconds: float, *, connections: int, delay_ms: float = 0.0
) -> list[str]:
    """Return the command that sends a request for some seconds.

    Args:
        url: Of the server, without a path.
        request: What to send.
        seconds: For how long; a fraction of one is rounded up.
        connections: On how many connections at once.
        delay_ms: How long each of them waits on average between an answer and the next request.
    """
    whole = max(1, round(seconds))
    words = ["wrk", "-t1", f"-c{connections}", f"-d{whole}s", f"-s{SCRIPT}", "--timeout", "10s"]
    for name, value in request.headers.items():
        words += ["-H", f"{name}: {value}"]
    script = [request.method, f"{delay_ms:.3f}", request.media_type, request.body]
    return [*words, url + request.path, "--", *script]


def send(
    url: str,
    request: Request,
    seconds: float,
    *,
    connections: int = CONNECTIONS,
    delay_ms: float = 0.0,
) -> Answered:
    """Send a request for some seconds, and wait for the end."""
    finished = subprocess.run(
        command(url, request, seconds, connections=connections, delay_ms=delay_ms),
        capture_output=True,
        check=True,
        text=True,
        timeout=seconds + _GRACE_SECONDS,
    )
    return parse(finished.stdout)


def parse(output: str) -> Answered:
    """Read what the script prints at the end.

    Raises:
        ValueError: It did not get that far.
    """
    for line in output.splitlines():
        if line.startswith("{"):
            return Answered(**json.loads(line))
    raise ValueError(f"wrk did not tell what came of it:\n{output}")


def delay_for(rate: float, connections: int, latency_ms: float) -> float:
    """Return how long each connection has to wait so that all together come to a rate.

    Args:
        rate: Requests in a second.
        connections: How many share it.
        latency_ms: How long an answer takes meanwhile.
    """
    return max(0.0, 1000 * connections / rate - latency_ms)
