"""The service under gunicorn: settings, log and graceful shutdown."""

import asyncio
import json
import os
import runpy
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from app.infrastructure.http.server import HttpProtocol
from tests.support.processes import process_group

APP = """
import gc

async def app(scope, receive, send):
    while scope["type"] == "lifespan":
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            print('{"event": "closed"}', flush=True)
            return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"begun ", "more_body": True})
    await receive()
    client = scope["client"][0] + " " + scope["scheme"]
    garbage = f" {gc.isenabled()} {gc.get_freeze_count() > 0}"
    await send({"type": "http.response.body", "body": (client + garbage).encode()})
"""
REQUEST = (
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
    b"X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\n\r\n"
)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.upper().startswith(("APP_", "GUNICORN_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("APP_ENVIRONMENT", "test")


def gunicorn(**settings: str) -> AbstractAsyncContextManager[Process]:
    return process_group(
        *(sys.executable, "-m", "gunicorn"),
        *("-c", "python:app.gunicorn_config", "small:app"),
        env={**os.environ, **settings},
        stdout=PIPE,
        stderr=PIPE,
    )


class Server:
    """A running gunicorn, and its log."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []

    async def line(self, beginning: str) -> str:
        """Read the log up to a line whose event has this prefix."""
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            while text := await self.process.stdout.readline():
                self.lines.append(json.loads(text))
                event = str(self.lines[-1]["event"])
                if event.startswith(beginning):
                    return event
        raise AssertionError(self.lines)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    (tmp_path / "small.py").write_text(APP)
    async with gunicorn(
        APP_SERVER__PORT="0", APP_SERVER__WORKERS="1", APP_LOGGING__FORMAT="json"
    ) as process:
        yield Server(process)


class TestConfiguration:
    def test_follows_the_settings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("APP_SERVER__HOST", "::1")
        monkeypatch.setenv("APP_SERVER__PORT", "9000")
        monkeypatch.setenv("APP_SERVER__WORKERS", "3")
        monkeypatch.setenv("APP_SERVER__KEEP_ALIVE", "7")
        monkeypatch.setenv("APP_SERVER__GRACEFUL_TIMEOUT", "11")
        monkeypatch.setenv("APP_HTTP__GRACE_SECONDS", "3")
        monkeypatch.setenv("APP_JOBS__DRAIN_SECONDS", "20.5")
        config = runpy.run_module("app.gunicorn_config")
        assert config["bind"] == "[::1]:9000"
        assert config["workers"] == 3
        assert config["keepalive"] == 7
        assert config["worker_class"].CONFIG_KWARGS["timeout_graceful_shutdown"] == 11
        protocol = config["worker_class"].CONFIG_KWARGS["http"]
        assert (protocol.func, protocol.args[0].grace_seconds) == (HttpProtocol, 3)
        assert config["graceful_timeout"] > 11 + 20.5, "requests, then jobs, then resources"
        assert isinstance(config["graceful_timeout"], int)

    def test_counts_where_workers_send_heartbeats(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("APP_METRICS__ENABLED", "true")
        config = runpy.run_module("app.gunicorn_config")
        counts = Path(config["_counts"])
        counts.rmdir()
        assert str(counts.parent) == (config["worker_tmp_dir"] or tempfile.gettempdir())

    def test_opens_no_control_socket_and_writes_no_access_log(self) -> None:
        config = runpy.run_module("app.gunicorn_config")
        assert config["control_socket_disable"]
        assert config["accesslog"] is None
        assert not config["worker_class"].CONFIG_KWARGS["access_log"]


class TestServing:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
    async def test_finishes_requests_in_flight_then_closes(
        self, server: Server, number: signal.Signals
    ) -> None:
        listening = await server.line("Listening at: http://127.0.0.1:")
        port = int(listening.removeprefix("Listening at: http://127.0.0.1:").split()[0])
        await server.line("Application startup complete")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        head = await reader.readuntil(b"begun ")

        server.process.send_signal(number)
        await server.line("Shutting down")
        writer.write(b"x")
        rest = await reader.read()
        writer.close()

        await server.line("closed")
        await server.line("Shutting down: Master")
        assert await server.process.wait() == 0
        assert b"127.0.0.1 http " in rest
        assert b" True True" in rest, "collects garbage, but not among the objects of the start"
        assert b"server:" not in head.lower()

    async def test_ends_with_a_master_that_is_killed(self, server: Server) -> None:
        await server.line("Application startup complete")
        server.process.kill()
        await server.line("closed")

    async def test_refuses_bad_settings_with_one_message(self, tmp_path: Path) -> None:
        async with gunicorn(APP_ENVIRONMENT="production", APP_SERVER__PORT="eighty") as process:
            out, err = await process.communicate()
        message = err.decode()
        assert process.returncode == 1
        assert out == b""
        assert "APP_SERVER__PORT: " in message
        assert message.count("The settings are invalid") == 1
        assert "Traceback" not in message
