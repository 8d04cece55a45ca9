"""Redis for tests: one server per run, with a prefix for each test or process.

A test that stops, starts or freezes a Redis takes one of its own, by `own_redis`.
"""

import hashlib
import os
import secrets
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import SecretStr

from app.core.config.redis import RedisSettings
from dev_servers import redis
from redis import Redis
from tests.support.servers import server

SERVER_VARIABLE: Final = "TEST_REDIS_URL"
"""Address of a server that the tests may use; without it they start their own."""

_PATIENT: Final = {"timeout": 10.0, "connect_timeout": 30.0}
"""Long, for slow machines. Tests of outages set their own limits."""


@dataclass(frozen=True, slots=True)
class TestRedis:
    """The Redis of a run, and the prefix that all its keys have."""

    source: str
    url: str
    prefix: str

    @classmethod
    @contextmanager
    def started(cls) -> "Iterator[TestRedis]":
        """Yield a server, and remove it afterwards."""
        prefix = f"apptest-{secrets.token_hex(4)}"
        if given := os.environ.get(SERVER_VARIABLE):
            yield cls(f"the Redis that {SERVER_VARIABLE} names", given, prefix)
            with Redis.from_url(given) as client:
                for key in client.scan_iter(f"{prefix}-*"):
                    client.delete(key)
        else:
            with redis.opened(None) as running:
                yield cls(running.source, running.url, prefix)


class OwnRedis:
    """A Redis of one test, which may stop it.

    Attributes:
        url: Its address, the same after each start.
    """

    def __init__(self, directory: Path) -> None:
        self._server = redis.valkey(directory, directory / "redis.sock", lasting=True)
        self.url = redis.url_of(self._server)

    def start(self) -> None:
        """Start it, and return when it responds; its data survives a stop."""
        self._server.start()

    def kill(self) -> None:
        """Kill it, as in a power cut."""
        self._server.terminate()

    def freeze(self) -> None:
        """Freeze it: it accepts connections and commands without a response."""
        self._server._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Resume it."""
        self._server._process.send_signal(signal.SIGCONT)


def pytest_run_servers() -> Mapping[str, Callable[[], AbstractContextManager[TestRedis]]]:
    return {"redis": TestRedis.started}


def pytest_app_settings(config: pytest.Config, database_url: str) -> dict[str, dict[str, Any]]:
    run = TestRedis(**server(config, "redis"))
    service = hashlib.sha256(database_url.encode()).hexdigest()[:12]
    return {"redis": {"url": run.url, "prefix": f"{run.prefix}-{service}", **_PATIENT}}


@pytest.fixture
def redis_settings(request: pytest.FixtureRequest) -> RedisSettings:
    """This run's Redis, with a prefix of one test alone."""
    run = TestRedis(**server(request.config, "redis"))
    prefix = f"{run.prefix}-{secrets.token_hex(6)}"
    return RedisSettings(url=SecretStr(run.url), prefix=prefix, **_PATIENT)


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], OwnRedis]]:
    """Makes Redis servers for one test, which are started and end with it."""
    started: list[OwnRedis] = []

    def make() -> OwnRedis:
        started.append(OwnRedis(tmp_path_factory.mktemp("r")))
        started[-1].start()
        return started[-1]

    yield make
    for each in started:
        each.kill()
