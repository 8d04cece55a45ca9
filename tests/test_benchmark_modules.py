"""The benchmarks of modules: how a large file is sent and fetched, and a crowd's cost recorded."""

import http.client
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from benchmarks import modules
from benchmarks.servers import Server

TALKATIVE = """
for line in iter(input, ""):
    print("[0.2, 0.1, 0.9]", flush=True)
"""


class Store(BaseHTTPRequestHandler):
    """Keeps the last body, and returns the content that a test has set."""

    received = given = b""
    head: Message
    status = 200

    def do_POST(self) -> None:
        Store.head = self.headers
        Store.received = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(b'{"id": "01976d5e"}')

    def do_GET(self) -> None:
        self.answer(self.given)

    def answer(self, body: bytes) -> None:
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class TestFiles:
    @pytest.fixture
    def url(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
        for name in ("received", "given", "status"):
            monkeypatch.setattr(Store, name, getattr(Store, name))
        with HTTPServer(("127.0.0.1", 0), Store) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            yield f"http://127.0.0.1:{server.server_port}"
            server.shutdown()
            thread.join()

    def test_are_sent_in_differing_blocks_as_a_part_of_a_form(self, url: str) -> None:
        first, second = modules.blocks(2)

        assert modules.upload(url, "token", modules.MULTIPART, 2) == "01976d5e"

        body = f"Content-Type: {Store.head['Content-Type']}\r\n\r\n".encode() + Store.received
        (part,) = BytesParser(policy=HTTP).parsebytes(body).iter_parts()
        assert part["Content-Disposition"].params == {"name": "file", "filename": "large.txt"}
        assert part.get_payload(decode=True) == first + second
        assert first != second
        assert len(first) == len(second) == modules.MEBIBYTE
        assert Store.head["Authorization"] == "Bearer token"

    def test_are_sent_bare_to_the_floor(self, url: str) -> None:
        modules.upload(url, "token", modules.BARE, 1)

        assert Store.received == b"".join(modules.blocks(1))

    @pytest.mark.parametrize("content", [b"", b"x", b"".join(modules.blocks(2)) + b"x"])
    def test_are_compared_with_the_one_that_was_sent(
        self, url: str, content: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Store, "given", b"".join(modules.blocks(2)))
        modules.download(url, "token", "01976d5e", 2)
        monkeypatch.setattr(Store, "given", content)

        with pytest.raises(RuntimeError, match="another file"):
            modules.download(url, "token", "01976d5e", 2)

    def test_may_be_refused(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Store, "status", http.client.FORBIDDEN)

        with pytest.raises(RuntimeError, match="POST /api/v1/files answers 403"):
            modules.upload(url, "token", modules.BARE, 1)


class Clock(Server):
    """A server that uses a second of a processor between two looks."""

    looks = 0

    def cpu(self) -> tuple[dict[int, int], dict[int, int]]:
        Clock.looks += 1
        return {1: Clock.looks * 10**9}, {}


class TestCrowd:
    @pytest.fixture
    def crowd(self) -> Iterator[modules.Crowd]:
        with subprocess.Popen(
            [sys.executable, "-c", TALKATIVE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            yield modules.Crowd(Clock("service", "", 1), process, clients=100)
            assert process.stdin is not None
            with suppress(BrokenPipeError):
                process.stdin.close()

    def test_records_the_cost_of_a_delivery(self, crowd: modules.Crowd) -> None:
        crowd.turn(10)
        crowd.turn(20)

        assert crowd.delivery_us == [1000, 500]
        assert crowd.until_all_ms == [200, 200]

    def test_reports_clients_that_have_exited(self, crowd: modules.Crowd) -> None:
        crowd.process.kill()
        crowd.process.wait()

        with pytest.raises(RuntimeError, match="the clients of service have exited"):
            crowd.hear(1)


class TestOpenFiles:
    @pytest.fixture
    def granted(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
        granted: list[tuple[int, int]] = []
        monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
        monkeypatch.setattr(resource, "setrlimit", lambda _, limits: granted.append(limits))
        return granted

    @pytest.mark.parametrize(("clients", "limits"), [(100, []), (1000, [(1200, 4096)])])
    def test_are_requested_where_they_are_too_few(
        self, granted: list[tuple[int, int]], clients: int, limits: list[tuple[int, int]]
    ) -> None:
        modules.require_open_files(clients)

        assert granted == limits

    @pytest.mark.usefixtures("granted")
    def test_may_be_unavailable(self) -> None:
        with pytest.raises(modules.OpenFilesError, match="--clients"):
            modules.require_open_files(4000)
