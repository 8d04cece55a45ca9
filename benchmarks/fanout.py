"""What one client says is heard by many: what each delivery costs, and when the last has it."""

import json
import resource
import statistics
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measures import Row, Samples
from benchmarks.projects import Project, Surroundings, base_environment, by_hand, service
from benchmarks.rows import Effort, Say
from benchmarks.serving import Server, serving

_PATH = "/api/v1/ws/lobby"
_DELIVERIES = 30_000
"""In a turn: enough for the clock of processor time, which has hundredths of a second."""

_SPARE_FILES = 200


class OpenFilesError(Exception):
    """A process may not have as many connections as there are to be clients."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """Clients of one server, in a process of their own.

    Attributes:
        server: Whose.
        process: Which.
        clients: How many there are.
    """

    server: Server
    process: "subprocess.Popen[str]"
    clients: int
    delivery_us: list[float] = field(default_factory=list)
    hearing_us: list[float] = field(default_factory=list)
    until_all_ms: list[float] = field(default_factory=list)

    def turn(self, messages: int) -> None:
        """Have messages said, one after the other, and note what they take."""
        before = self.server.cpu_seconds()
        heard = self._say(messages)
        used = self.server.cpu_seconds() - before
        deliveries = messages * self.clients
        self.delivery_us.append(used / deliveries * 1e6)
        self.hearing_us.append(heard["cpu"] / deliveries * 1e6)
        self.until_all_ms.append(statistics.median(heard["seconds"]) * 1e3)

    def warm(self) -> None:
        """Have a few messages said that do not count."""
        self._say(3)

    def _say(self, messages: int) -> dict[str, Any]:
        """Have messages said, and return what the clients print about them.

        Raises:
            RuntimeError: They are gone.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(f"{messages}\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the clients of {self.server.app.name} have gone; see above")
        heard: dict[str, Any] = json.loads(line)
        return heard


def require_open_files(clients: int) -> None:
    """Pass if a process may have so many connections; let those that are started have them.

    Raises:
        OpenFilesError: It may not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = clients + _SPARE_FILES
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise OpenFilesError(
            f"{clients:,} WebSockets take a limit of {wanted:,} open files, and no more than "
            f"{hard:,} are to be had here (`ulimit -Hn`): say fewer by `--clients`."
        )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def measure(
    project: Project, behind: Surroundings, effort: Effort, folder: Path, say: Say
) -> list[Row]:
    """Return the rows of live events; the project has to have the modules for them and Redis."""
    everybody = str(effort.clients + 1)
    generated = service(
        project,
        behind,
        APP_REALTIME__CONNECTIONS=everybody,
        APP_REALTIME__CONNECTIONS_PER_USER=everybody,
        # Counted and never reached, as other limits here.
        APP_REALTIME__MESSAGES_PER_SECOND="10000",
        APP_REALTIME__BURST="100000",
    )
    token, messages = behind.facts["ada_token"], max(1, _DELIVERIES // effort.clients)
    with ExitStack() as stack:
        ours, floor = (
            stack.enter_context(
                crowd(
                    project,
                    stack.enter_context(serving(app, log=folder / f"{app.name}.log")),
                    token,
                    effort.clients,
                )
            )
            for app in (generated, by_hand("sockets", project, behind))
        )
        for each in (ours, floor):
            each.warm()
        for _ in range(effort.rounds):
            for each in (ours, floor):
                each.turn(messages)
    rows = _rows(ours, floor)
    for row in rows:
        say(f"{row.name}: {row.ratio:.2f} ({row.service.median:.1f} {row.unit})")
    return rows


@contextmanager
def crowd(project: Project, server: Server, token: str, clients: int) -> Iterator[Crowd]:
    """Have clients connected to a server while the block runs.

    Raises:
        RuntimeError: They can't connect.
    """
    url = server.url.replace("http://", "ws://", 1) + _PATH
    module = ("-m", "benchmarks.inside.listeners")
    with subprocess.Popen(
        [project.python, *module, url, token, str(clients)],
        cwd=project.directory,
        env=base_environment(project),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RuntimeError(f"{clients} clients can't connect to {server.app.name}; see above")
        try:
            yield Crowd(server, process, clients)
        finally:
            with suppress(BrokenPipeError):
                process.stdin.close()


def _rows(ours: Crowd, floor: Crowd) -> list[Row]:
    return [
        Row(
            f"a message to {ours.clients:,} WebSockets: {what}",
            unit,
            Samples(tuple(by_us)),
            Samples(tuple(by_hand)),
            1.3,
            against="Starlette and Redis by hand",
            others=others,
        )
        for what, unit, by_us, by_hand, others in (
            (
                "each delivery",
                "µs of CPU",
                ours.delivery_us,
                floor.delivery_us,
                {"client": Samples((*ours.hearing_us, *floor.hearing_us))},
            ),
            ("until all have it", "ms", ours.until_all_ms, floor.until_all_ms, {}),
        )
    ]
