"""Load on a server: connections that send requests over and over, at 20 to 60 µs a request.

Not wrk, because the warm-up has to be on the same connections: the first requests of many new ones
wait until the server has accepted them, which takes a second, whatever the application does.
"""

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import cast

from benchmarks.servers import Server, used

CONNECTIONS = 32
_WARM_UP = 0.2
_DRAIN_SECONDS = 10
_END, _LENGTH = b"\r\n\r\n", b"content-length:"


@dataclass(frozen=True, slots=True)
class Load:
    """Requests to send in turn, over and over.

    Attributes:
        targets: Path and token of each; the token may be empty.
    """

    method: str
    targets: Sequence[tuple[str, str]]
    body: str = ""

    def requests(self, host: str) -> list[bytes]:
        """Return the requests as they are sent."""
        body = self.body.encode()
        rest = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        return [
            f"{self.method} {path} HTTP/1.1\r\nHost: {host}\r\n{_bearer(token)}{rest}\r\n".encode()
            + body
            for path, token in self.targets
        ]


def _bearer(token: str) -> str:
    return f"Authorization: Bearer {token}\r\n" if token else ""


@dataclass(frozen=True, slots=True)
class Turn:
    """One measurement: processor time per request in µs, requests per second, tail of latency."""

    cpu_us: float
    database_us: float
    rate: float
    p99_ms: float


@dataclass(slots=True)
class Answers:
    """When requests were sent and answered, and failures."""

    times: list[tuple[float, float]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    is_over: bool = False


class Connection(asyncio.Protocol):
    """A connection that sends a request as soon as the last one is answered, or some time later."""

    def __init__(self, requests: Iterator[bytes], answers: Answers, delay: float) -> None:
        """Take requests from an iterator that connections share."""
        self.closed = asyncio.get_running_loop().create_future()
        self._requests, self._answers, self._delay = requests, answers, delay
        self._received, self._wanted = b"", 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass
        self._send()

    def data_received(self, data: bytes) -> None:
        """Record an answer that is complete."""
        self._received += data
        if not self._wanted and (end := self._received.find(_END)) >= 0:
            self._wanted = end + len(_END) + content_length(self._received[:end])
        if not self._wanted or len(self._received) < self._wanted:
            return
        self._answers.times.append((self._sent, time.perf_counter()))
        if self._received[9:10] != b"2":
            self._answers.failures.append(self._received[:300].decode(errors="replace"))
        self._received, self._wanted = b"", 0
        if self._answers.is_over:
            self._transport.close()
        elif self._delay:
            # Spread evenly around the mean, so that connections don't march in step.
            pause = random.uniform(0, 2 * self._delay)  # noqa: S311 - not a secret
            asyncio.get_running_loop().call_later(pause, self._send)
        else:
            self._send()

    def connection_lost(self, error: Exception | None) -> None:
        """Record an early end."""
        if not self._answers.is_over:
            self._answers.failures.append(f"connection lost: {error}")
        self.closed.set_result(None)

    def _send(self) -> None:
        if self._answers.is_over:
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._transport.write(next(self._requests))


def content_length(head: bytes) -> int:
    """Return the length of the body that follows a head.

    Raises:
        ValueError: The head has none.
    """
    head = head.lower()
    start = head.index(_LENGTH) + len(_LENGTH)
    return int(head[start:].split(b"\r\n", 1)[0])


def turn(
    server: Server,
    load: Load,
    seconds: float = 1,
    *,
    connections: int = CONNECTIONS,
    warm_up: float = _WARM_UP,
    delay: float = 0.0,
) -> Turn:
    """Send a load for some seconds after a warm-up, and return the cost of a request.

    Each connection waits for `delay` seconds on average between an answer and the next request.

    Raises:
        RuntimeError: Some requests failed.
    """
    import uvloop

    measured: Turn = uvloop.run(_turn(server, load, seconds, connections, warm_up, delay))
    return measured


async def _turn(
    server: Server, load: Load, seconds: float, connections: int, warm_up: float, delay: float
) -> Turn:
    loop, answers, address = asyncio.get_running_loop(), Answers(), server.address
    requests = cycle(load.requests(f"{address[0]}:{address[1]}"))
    clients: list[Connection] = []
    for _ in range(connections):
        _, client = await loop.create_connection(
            lambda: Connection(requests, answers, delay), *address
        )
        clients.append(client)
    await asyncio.sleep(warm_up)
    before, started = server.cpu(), time.perf_counter()
    await asyncio.sleep(seconds)
    ended, after = time.perf_counter(), server.cpu()
    answers.is_over = True
    await asyncio.wait([client.closed for client in clients], timeout=_DRAIN_SECONDS)
    count = sum(started <= answered < ended for _, answered in answers.times)
    if answers.failures or not count:
        raise RuntimeError(
            f"{server.name}, {load.method} {load.targets[0][0]}: {count} answers, "
            f"{len(answers.failures)} failures: {answers.failures[:1]}"
        )
    cpu, database = (used(then, now) / count * 1e6 for then, now in zip(before, after, strict=True))
    # Of new connections, the first requests wait before the application: the warm-up's don't count.
    latencies = sorted(there - sent for sent, there in answers.times if started <= sent < ended)
    p99 = latencies[int(len(latencies) * 0.99)]
    return Turn(cpu, database, count / (ended - started), p99 * 1e3)
