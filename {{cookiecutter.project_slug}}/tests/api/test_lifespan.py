"""Startup and shutdown of resources (rules APP02, APP07)."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest
from fastapi import FastAPI
from sqlalchemy import select, text

from app import models
from app.config import Settings
from app.core.config import PasswordSettings
from app.core.security.passwords import PasswordHasher
from app.infrastructure.database import Database
from app.main import create_app
from app.resources import Resources, open_resources
from app.tasks import TASKS
from tests.support.arrange import Account, Arrange
from tests.support.processes import server_process

RESOURCES: Final[dict[str, tuple[Any, str]]] = {
    "Database": (Database, "open"),
    "PasswordHasher": (PasswordHasher, "open"),
}
"""What is opened, in this order, and where that is looked up."""

IMPORT_ALL: Final = """
import importlib, json, pkgutil, re, sys, threading

OPENINGS = re.compile(r"socket[.].+|subprocess[.]Popen|.+[.]connect")
opened = []
sys.addaudithook(lambda event, _: opened.append(event) if OPENINGS.fullmatch(event) else None)

import app

names = [module.name for module in pkgutil.walk_packages(app.__path__, "app.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(json.dumps([len(names), opened, threading.active_count()]))
"""


class TestImport:
    async def test_of_any_module_opens_nothing(self, tmp_path: Path) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            IMPORT_ALL,
            cwd=tmp_path,
            env={**os.environ, "APP_ENVIRONMENT": "test"},
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()

        assert process.returncode == 0
        modules, opened, threads = json.loads(output.splitlines()[-1])  # the log comes first
        assert modules > 50
        assert opened == []
        assert threads == 1
        assert os.listdir(tmp_path) == []  # noqa: PTH208 - a path's own way is for threads


class TestLifespan:
    async def test_opens_and_closes_the_resources(self, settings: Settings) -> None:
        app = create_app(settings)
        async with app.router.lifespan_context(app):
            resources: Resources = app.state.resources
            async with resources.database.read() as connection:
                await connection.scalar(text("SELECT 1"))
            open_connections = connections_in(resources)

        assert open_connections >= 1
        assert connections_in(resources) == 0

    async def test_closes_in_reverse_order(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        steps = recorded_steps(monkeypatch)

        async with open_resources(settings, TASKS):
            steps.append("serve")

        assert steps == [
            "open Database",
            "open PasswordHasher",
            "serve",
            "close PasswordHasher",
            "close Database",
        ]

    async def test_closes_in_reverse_order_when_serving_fails(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        steps = recorded_steps(monkeypatch)

        with pytest.raises(OSError, match="lost"):
            async with open_resources(settings, TASKS):
                raise OSError("lost")

        assert steps[2:] == ["close PasswordHasher", "close Database"]

    async def test_closes_the_first_when_the_second_does_not_open(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        steps = recorded_steps(monkeypatch, "PasswordHasher")

        with pytest.raises(OSError, match="PasswordHasher does not open"):
            async with open_resources(settings, TASKS):
                steps.append("serve")

        assert steps == ["open Database", "close Database"]

    async def test_closes_the_others_when_one_does_not_close(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        steps = recorded_steps(monkeypatch)
        monkeypatch.setattr(PasswordHasher, "open", fails_to_close)

        with pytest.raises(OSError, match="does not close"):
            async with open_resources(settings, TASKS):
                pass

        assert steps == ["open Database", "close Database"]


class TestShutdown:
    async def test_finishes_requests_in_flight(
        self, own_app: FastAPI, arrange_own: Arrange, tmp_path: Path
    ) -> None:
        ada = await arrange_own.account()
        resources: Resources = own_app.state.resources
        locked = select(models.User.id).where(models.User.id == ada.id).with_for_update()
        async with asyncio.timeout(60), server_process(resources.settings, tmp_path) as server:
            async with resources.database.transaction() as session:
                await session.execute(locked)
                change = await begin_change(server.port, ada)
                server.process.terminate()
                await refuses_connections(server.port)
                in_flight = not change.done()
            response = await change
            returncode = await server.process.wait()

        assert in_flight
        assert "Bad file descriptor" not in server.log.read_text()
        assert response.startswith(b"HTTP/1.1 200 ")
        assert returncode == 0
        assert await arrange_own.rows(select(models.User.full_name)) == [("Finished",)]


async def begin_change(port: int, owner: Account) -> "asyncio.Task[bytes]":
    """Send a request; return its pending response once the application handles it."""
    body = b'{"full_name": "Finished"}'
    head = (
        "PATCH /api/v1/users/me HTTP/1.1\r\n"
        "Host: testserver\r\n"
        f"Authorization: {owner.headers['Authorization']}\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Expect: 100-continue\r\n"
        "\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head.encode())
    # The server says so when the application asks for the body, not before.
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)

    async def answer() -> bytes:
        answered = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answered

    return asyncio.create_task(answer())


async def refuses_connections(port: int) -> None:
    """Return when the server accepts no new connections."""
    with suppress(ConnectionError):
        while True:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            await writer.wait_closed()


def connections_in(resources: Resources) -> int:
    """Return the number of connections in the pool."""
    pool: Any = resources.database.engine.sync_engine.pool
    held: int = pool.checkedin() + pool.checkedout()
    return held


def recorded_steps(monkeypatch: pytest.MonkeyPatch, failing: str | None = None) -> list[str]:
    """Record the opening and closing of resources in order; one may fail to open."""
    steps: list[str] = []
    for name, (place, attribute) in RESOURCES.items():
        opened = noted(steps, name, getattr(place, attribute), fails=name == failing)
        monkeypatch.setattr(place, attribute, opened)
    return steps


def noted(
    steps: list[str],
    name: str,
    original: Callable[..., AbstractAsyncContextManager[object]],
    *,
    fails: bool,
) -> Callable[..., AbstractAsyncContextManager[object]]:
    @asynccontextmanager
    async def open_noted(*arguments: object, **options: object) -> AsyncIterator[object]:
        if fails:
            raise OSError(f"{name} does not open")
        async with original(*arguments, **options) as opened:
            steps.append(f"open {name}")
            try:
                yield opened
            finally:
                steps.append(f"close {name}")

    return open_noted


@asynccontextmanager
async def fails_to_close(settings: PasswordSettings) -> AsyncIterator[PasswordHasher]:
    yield PasswordHasher(settings)
    raise OSError("it does not close")
