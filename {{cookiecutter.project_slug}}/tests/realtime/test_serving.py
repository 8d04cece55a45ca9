"""Production and development use the same options of uvicorn."""

import runpy
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from app import config
from app.cli import development
from app.config import Settings
from app.core.config.realtime import RealtimeSettings
from app.infrastructure.database import migrations
from app.infrastructure.realtime.server import SocketProtocol, uvicorn_options

SETTINGS = Settings(
    realtime=RealtimeSettings(max_message_bytes=2048, heartbeat_seconds=7.0, heartbeat_timeout=3.0)
)
OPTIONS = {
    "ws_max_size": 2048,
    "ws_ping_interval": 7.0,
    "ws_ping_timeout": 3.0,
    "ws_per_message_deflate": False,
}


def test_follows_the_settings() -> None:
    made = uvicorn.Config("app.asgi:app", log_config=None, **uvicorn_options(SETTINGS.realtime))
    made.load()
    protocol: Any = made.ws_protocol_class
    assert (protocol.func, protocol.args) == (SocketProtocol, (SETTINGS.realtime,))
    assert {name: getattr(made, name) for name in OPTIONS} == OPTIONS


def test_is_used_in_production(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("APP_ENVIRONMENT", "test")
    for name in ("max_message_bytes", "heartbeat_seconds", "heartbeat_timeout"):
        value = getattr(SETTINGS.realtime, name)
        monkeypatch.setenv(f"APP_REALTIME__{name.upper()}", str(value))
    given = runpy.run_module("app.gunicorn_config")["worker_class"].CONFIG_KWARGS
    expected = uvicorn_options(SETTINGS.realtime)
    protocol, expected_protocol = given["ws"], expected.pop("ws")
    assert (protocol.func, protocol.args) == (expected_protocol.func, expected_protocol.args)
    assert given.items() >= expected.items()


def test_is_used_in_development(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[uvicorn.Config] = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda server, **_: made.append(server.config))
    monkeypatch.setattr(development, "worker_process", nullcontext, raising=False)
    monkeypatch.setattr(development, "runtime", lambda: nullcontext(SETTINGS))
    monkeypatch.setattr(config, "load_settings", lambda: SETTINGS)
    monkeypatch.setattr(migrations, "upgrade", lambda *_, **__: None)
    current = migrations.RevisionCheck((), (), "current")
    monkeypatch.setattr(migrations, "check_revision", lambda _: current)
    development.dev(port=0, reload=False)
    assert {name: getattr(made[0], name) for name in OPTIONS} == OPTIONS
