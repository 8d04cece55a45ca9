"""The store of development: started, shared, and back with its objects after a restart."""

import http.client
import importlib.metadata
from pathlib import Path

import pytest

from dev_servers import ServerUnavailable, s3
from dev_servers.process import Places, StartFailed
from dev_servers.s3 import Keys, development_server, rclone

pytestmark = pytest.mark.untraced


@pytest.fixture
def no_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "_on_machine", lambda: None)
    monkeypatch.setattr(s3, "_in_wheel", lambda: None)


class TestGivenAddress:
    def test_is_used_as_it_is(self, tmp_path: Path) -> None:
        with development_server("https://s3.example.com", tmp_path) as server:
            assert server.url == "https://s3.example.com"
            assert server.environment == {}
            assert server.source == "S3 at s3.example.com, from APP_STORAGE__ENDPOINT_URL"


class TestStartedServer:
    def test_keeps_its_objects_and_shares_itself(self, tmp_path: Path) -> None:
        with development_server(None, tmp_path) as server:
            keys = _keys(server.environment)
            assert s3._asked(server.url, keys, "PUT", "/app/kept") == http.client.OK
            with development_server(None, tmp_path) as shared:
                assert (shared.url, shared.environment) == (server.url, server.environment)
                assert shared.source.endswith(", running already")
        assert (tmp_path / "s3" / "objects" / "app" / "kept").exists()

        with development_server(None, tmp_path) as again:
            fresh = _keys(again.environment)
            assert fresh != keys
            assert s3._asked(again.url, fresh, "GET", "/app/kept") == http.client.OK
            assert s3._asked(again.url, keys, "GET", "/app/kept") == http.client.FORBIDDEN

    def test_says_what_was_tried(self, tmp_path: Path, no_programs: None) -> None:
        with (
            pytest.raises(ServerUnavailable, match=r"APP_STORAGE__ENDPOINT_URL is not set\.\n"),
            development_server(None, tmp_path),
        ):
            pass

    def test_says_why_a_program_does_not_start(
        self, tmp_path: Path, no_programs: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(s3, "_on_machine", lambda: Path("/bin/false"))
        with (
            pytest.raises(ServerUnavailable, match="/bin/false: /bin/sh ended with status 1"),
            rclone(given=None, given_by="X", directory=None),
        ):
            pass

    def test_says_so_if_the_second_server_of_the_tests_does_not_start(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise StartFailed("no")

        monkeypatch.setattr(s3, "running", fail)
        with pytest.raises(ServerUnavailable, match="No moto is to be had: no"), s3.moto():
            pass


class TestWheel:
    def test_has_the_program(self) -> None:
        path = s3._in_wheel()
        assert path is not None
        assert path.name == "rclone"

    def test_need_not_be_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def missing(_: str) -> None:
            raise importlib.metadata.PackageNotFoundError

        monkeypatch.setattr(importlib.metadata, "files", missing)
        assert s3._in_wheel() is None


class TestAddress:
    def test_is_not_known_before_it_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "log").write_text("Starting up\n")
        with pytest.raises(ValueError, match="does not listen yet"):
            s3._address(Places(tmp_path, tmp_path, None))


def _keys(environment: object) -> Keys:
    assert isinstance(environment, dict)
    return Keys(
        environment["APP_STORAGE__ACCESS_KEY_ID"], environment["APP_STORAGE__SECRET_ACCESS_KEY"]
    )
