"""Development servers are shared, private to their user, and stop with the last command."""

import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from urllib.parse import urlsplit

import pytest
from app.config import Settings
from dev_servers import (
    Server,
    ServerUnavailable,
    backing_services,
    moto,
    postgresql,
    process,
    redis,
    s3,
    services,
)
from redis import Redis
from tests.support.databases import execute

USER = """
import sys
from dev_servers import redis
with redis.opened(None):
    print("running", flush=True)
    sys.stdin.read()
"""
VARIABLES = ("APP_DATABASE__URL", "APP_REDIS__URL", "APP_STORAGE__ENDPOINT_URL")


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a short path, for sockets."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture(autouse=True)
def temporary(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have servers use a directory for temporary files."""
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    return place


@pytest.fixture
def directory(place: Path) -> Path:
    """The directory of persistent data."""
    return place / ".dev"


def store(server: Server) -> None:
    """Store a value, on PostgreSQL or Redis."""
    if server.url.startswith("postgresql"):
        execute(server.url, "CREATE TABLE kept AS SELECT 'É' AS value")
    else:
        with Redis.from_url(server.url) as client:
            client.set("kept", "É")


def stored(server: Server) -> str:
    """Return the value, in lower case."""
    if server.url.startswith("postgresql"):
        return execute(server.url, "SELECT lower(value) FROM kept")[0]
    with Redis.from_url(server.url, decode_responses=True) as client:
        return str(client.get("kept")).lower()


@pytest.mark.parametrize("service", [postgresql, redis], ids=["postgresql", "redis"])
class TestStartedServer:
    def test_keeps_its_data_in_the_directory(self, service: ModuleType, directory: Path) -> None:
        with service.opened(directory) as server:
            store(server)
        with service.opened(directory) as server:
            assert stored(server) == "é"

    def test_is_shared_and_outlives_the_command_that_started_it(
        self, service: ModuleType, directory: Path
    ) -> None:
        first, second = ExitStack(), ExitStack()
        server = first.enter_context(service.opened(directory))
        assert second.enter_context(service.opened(directory)) == server
        first.close()
        store(server)
        assert stored(server) == "é"
        second.close()
        with service.opened(directory) as again:  # waits until the one before has stopped
            assert stored(again) == "é"

    def test_has_its_data_elsewhere_if_the_path_needs_quotes(
        self, service: ModuleType, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", str(directory.parent))
        with service.opened(directory / "Мои & projects") as server:
            store(server)
            assert stored(server) == "é"
        assert (directory.parent / ".local/state/dev-servers").is_dir()


@pytest.mark.parametrize(
    "opened",
    [*(partial(service.opened, None) for service in (postgresql, redis, s3)), moto.opened],
    ids=["postgresql", "redis", "s3", "moto"],
)
def test_a_server_of_ones_own_leaves_nothing(
    opened: Callable[[], AbstractContextManager[Server]], temporary: Path
) -> None:
    with opened() as server:
        assert server.url
        assert list(temporary.iterdir()) != []
    assert [path for path in temporary.iterdir() if path.name.startswith("dev-servers-")] == []


def test_a_server_stops_when_its_user_is_killed(temporary: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", USER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as user:
        assert user.stdout is not None
        assert user.stdout.readline() == "running\n"
        (record,) = temporary.glob("dev-servers-*/server.json")
        with record.open() as running:
            user.kill()
            fcntl.flock(running, fcntl.LOCK_SH)  # which its process holds all its life
    assert list(temporary.glob("dev-servers-*/redis.sock")) == []


def test_a_server_that_does_not_start_says_why(directory: Path) -> None:
    with (
        pytest.raises(ServerUnavailable, match=r"`none` did not start:[^§]*No module named"),
        process.running("none", directory),
    ):
        pass


class TestS3:
    def test_keeps_objects_and_makes_new_keys(self, directory: Path) -> None:
        with s3.opened(directory) as server:
            (directory / "s3/objects/app/kept").write_text("1")
        with s3.opened(directory) as again:
            assert (directory / "s3/objects/app/kept").exists()
            assert again.environment != server.environment
        assert urlsplit(again.url).hostname == "127.0.0.1"


class TestBackingServices:
    def test_are_named_in_the_environment_while_they_run(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(services, "services", lambda: [redis])
        with backing_services(Settings(), directory) as (server,):
            assert os.environ["APP_REDIS__URL"] == server.url
        assert "APP_REDIS__URL" not in os.environ

    def test_are_not_started_if_the_settings_name_them(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        started: list[Path] = []
        service = SimpleNamespace(NAME="Redis", VARIABLE="APP_REDIS__URL", opened=started.append)
        monkeypatch.setattr(services, "services", lambda: [service])
        settings = Settings.model_validate({"redis": {"url": "redis://example.com"}})
        with backing_services(settings, directory) as (server,):
            assert server.source == "the Redis that APP_REDIS__URL names"
        assert started == []

    def test_are_all_modules_with_a_variable(self) -> None:
        assert {service.VARIABLE for service in services.services()} == set(VARIABLES)
