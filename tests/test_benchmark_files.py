"""How the benchmarks send a large file and fetch it."""

import http.client
import threading
from collections.abc import Iterator
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from benchmarks import files


class Store(BaseHTTPRequestHandler):
    """Keeps the last body that it was sent, and gives what it was told to."""

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
        """Say nothing."""


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

    def test_come_in_blocks_that_differ(self) -> None:
        first, second = files.blocks(2)

        assert len(first) == len(second) == files.MEBIBYTE
        assert first != second

    def test_are_sent_as_a_part_of_a_form(self, url: str) -> None:
        assert files.upload(url, "token", files.MULTIPART, 2) == "01976d5e"

        body = f"Content-Type: {Store.head['Content-Type']}\r\n\r\n".encode() + Store.received
        (part,) = BytesParser(policy=HTTP).parsebytes(body).iter_parts()
        assert part["Content-Disposition"].params == {"name": "file", "filename": "large.txt"}
        assert part.get_payload(decode=True) == b"".join(files.blocks(2))
        assert Store.head["Authorization"] == "Bearer token"

    def test_are_sent_as_they_are(self, url: str) -> None:
        files.upload(url, "token", files.BARE, 1)

        assert Store.received == b"".join(files.blocks(1))

    @pytest.mark.parametrize("content", [b"", b"x", b"".join(files.blocks(2)) + b"x"])
    def test_are_compared_with_what_was_sent(
        self, url: str, content: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Store, "given", b"".join(files.blocks(2)))
        files.download(url, "token", "01976d5e", 2)
        monkeypatch.setattr(Store, "given", content)

        with pytest.raises(RuntimeError, match="another file"):
            files.download(url, "token", "01976d5e", 2)

    def test_may_be_refused(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Store, "status", http.client.FORBIDDEN)

        with pytest.raises(RuntimeError, match="POST /api/v1/files answers 403"):
            files.upload(url, "token", files.BARE, 1)
