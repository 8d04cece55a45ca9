"""Answers to bodies that nobody reads to their end."""

import asyncio
import itertools

import pytest
from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send
from structlog.testing import capture_logs

from app.api import errors
from app.api.middleware import bodies, middleware
from app.core.config import HttpSettings, Settings
from tests.support.serving import served
from tests.support.waiting import PATIENCE

MAX_BYTES = 1024
FAR_TOO_MANY_BYTES = 8 * 1024 * 1024  # more than the kernel holds of what nobody reads


@pytest.fixture(scope="module")
def app() -> FastAPI:
    built = FastAPI(middleware=middleware(Settings(http=HttpSettings(max_body_bytes=MAX_BYTES))))
    errors.install(built)
    return built


async def test_reach_clients_that_send_all_before_they_listen(app: FastAPI) -> None:
    async with asyncio.timeout(PATIENCE), served(app) as server:
        reader, writer = await asyncio.open_connection(server.base_url.host, server.base_url.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n" % FAR_TOO_MANY_BYTES)
        for part in itertools.repeat(b"a" * MAX_BYTES, FAR_TOO_MANY_BYTES // MAX_BYTES):
            writer.write(part)
            await writer.drain()
        answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nconnection: close\r\n" in answer
    assert answer.endswith(b"}")


@pytest.mark.parametrize("limit", ["_SECONDS_TO_WAIT", "_SECONDS_TO_LINGER"])
async def test_do_not_wait_for_ever_nor_count_the_time(
    app: FastAPI, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, limit, 0.01)
    sent: list[Message] = []
    logged: list[int] = []

    async def receive() -> Message:
        logged.append(len(log))
        # The client either says nothing any more, or does not come to an end.
        await asyncio.sleep(PATIENCE if limit == "_SECONDS_TO_WAIT" else 0)
        return {"type": "http.request", "body": b"a", "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-length", b"%d" % FAR_TOO_MANY_BYTES)],
        "client": ("203.0.113.9", 4321),
        "server": ("localhost", 80),
    }
    with capture_logs() as log:
        await app(scope, receive, send)
    assert [message["type"] for message in sent] == [
        "http.response.start",
        *["http.response.body"] * 2,
    ]
    assert sent[0]["status"] == 413
    assert [message.get("more_body", False) for message in sent[1:]] == [True, False]
    assert set(logged) == {1}, "the time that this takes is in the request's line"


async def test_do_not_wait_for_a_body_that_was_read_in_the_meantime() -> None:
    async def answer_and_read(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"connection", b"close")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await receive()
        await send({"type": "http.response.body"})

    body = [{"type": "http.request", "body": b"a"}]
    sent: list[Message] = []

    async def receive() -> Message:
        return body.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST"}
    await bodies.LingeringClose(answer_and_read)(scope, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
