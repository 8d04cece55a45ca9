"""Gives the tests their Redis: one for a run, in which each process has a prefix of its own.

The process that starts the run starts it when somebody first asks, and its workers learn from it
where that is. A test that stops, starts or freezes a Redis takes one of its own, by `own_redis`.
"""

import hashlib
import os
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import SecretStr

from app.core.config.redis import RedisSettings
from dev_servers import Server, ServerUnavailable
from dev_servers.redis import command, installations, redis, url_of
from redis import Redis
from tests.support.waiting import PATIENCE

SERVER_VARIABLE: Final = "TEST_REDIS_URL"
"""Address of a server that the tests may use; without it they start their own."""

_ADDRESS: Final = "test_redis"
_RUN: Final = pytest.StashKey["_Run"]()
_PREFIX: Final = "apptest"

_PATIENT: Final = {"timeout": 10.0, "connect_timeout": 30.0}
"""On a slow machine, Redis is not taken for away. A test in which it goes sets its own limits."""


class _Run:
    """The Redis of this run, from the moment it is needed."""

    def __init__(self) -> None:
        self.stack = ExitStack()
        self.name = f"{_PREFIX}-{secrets.token_hex(4)}"
        self._server: Server | None = None

    def server(self) -> Server:
        if self._server is None:
            given = os.environ.get(SERVER_VARIABLE)
            opening = redis(given=given, given_by=SERVER_VARIABLE, directory=None)
            try:
                self._server = self.stack.enter_context(opening)
            except ServerUnavailable as error:
                raise pytest.UsageError(str(error)) from error
            if given:  # else all of it goes with the server
                self.stack.callback(remove_all, given, self.name)
        return self._server


class OwnRedis:
    """A Redis of one test alone, which may do to it what it likes.

    Attributes:
        url: Its address, the same after each start.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self.url = url_of(directory)

    def start(self) -> None:
        """Start it, and return when it answers; it has what it had when it was stopped."""
        program = installations()[0].path
        served = [*command(program, self._directory, lasting=True), "--dir", str(self._directory)]
        self._process = subprocess.Popen(  # noqa: S603 - the command is ours
            served, stdout=subprocess.DEVNULL
        )
        with Redis.from_url(self.url) as client:
            _await_answer(client)

    def kill(self) -> None:
        """Let it die as by a power cut."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """Let it take connections and commands, and answer nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


def answers(client: "Redis") -> bool:
    with suppress(Exception):
        return bool(client.ping())
    return False


def _await_answer(client: "Redis") -> None:
    give_up = time.monotonic() + PATIENCE
    pause = threading.Event()
    while not answers(client):
        assert time.monotonic() < give_up, f"this Redis is silent for {PATIENCE} seconds"
        pause.wait(0.01)


def remove_all(url: str, prefix: str) -> None:
    """Remove what a run has left on a server that it was given."""
    with Redis.from_url(url) as client:
        for key in client.scan_iter(f"{prefix}-*"):
            client.delete(key)


def _place(config: pytest.Config) -> tuple[str, str]:
    """Where this run's Redis is, and what all its keys start with."""
    workerinput = getattr(config, "workerinput", None)
    if workerinput is None:
        run = config.stash[_RUN]
        return run.server().url, run.name
    url, name = workerinput[_ADDRESS]
    return url, name


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_RUN] = _Run()


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_RUN].stack.close()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist where Redis is."""
    run = node.config.stash[_RUN]
    node.workerinput[_ADDRESS] = (run.server().url, run.name)


def pytest_report_header(config: pytest.Config) -> str | None:
    if config.option.collectonly:
        return None
    return f"servers: {config.stash[_RUN].server().source}"


def pytest_app_settings(config: pytest.Config, database_url: str) -> dict[str, dict[str, Any]]:
    url, name = _place(config)
    service = hashlib.sha256(database_url.encode()).hexdigest()[:12]
    return {"redis": {"url": url, "prefix": f"{name}-{service}", **_PATIENT}}


@pytest.fixture
def redis_settings(request: pytest.FixtureRequest) -> RedisSettings:
    """This run's Redis, with a prefix of one test alone."""
    url, name = _place(request.config)
    prefix = f"{name}-{secrets.token_hex(6)}"
    return RedisSettings(url=SecretStr(url), prefix=prefix, **_PATIENT)


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], OwnRedis]]:
    """Makes Redis servers for one test, which are started and end with it."""
    started: list[OwnRedis] = []

    def make() -> OwnRedis:
        started.append(OwnRedis(tmp_path_factory.mktemp("r")))
        started[-1].start()
        return started[-1]

    yield make
    for server in started:
        server.kill()
