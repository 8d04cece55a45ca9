"""The service in processes of its own, as production runs it."""

import asyncio
import os
import re
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from pydantic import BaseModel, SecretStr

from app.cli.operations import GUNICORN
from app.config import Settings
from tests.support.waiting import PATIENCE, eventually

_LISTENING = re.compile(r"Listening at: http://127\.0\.0\.1:(\d+)")


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A running server with one worker.

    Attributes:
        process: The master of the worker.
        log: Output of both.
    """

    process: Process
    port: int
    log: Path

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def server_process(settings: Settings, directory: Path) -> AsyncIterator[ServerProcess]:
    """Run a server by these settings, on a free port and with one worker."""
    log = directory / "server.log"
    environment = environment_of(settings) | {"APP_SERVER__PORT": "0", "APP_SERVER__WORKERS": "1"}
    with log.open("wb") as output:
        running = process_group(
            *GUNICORN, cwd=directory, env=environment, stdout=output, stderr=output
        )
        async with running as process:

            async def is_up() -> bool:
                assert process.returncode is None, log.read_text()
                return "Application startup complete" in log.read_text()

            await eventually(is_up, "the server has started")
            listening = _LISTENING.search(log.read_text())
            assert listening is not None
            yield ServerProcess(process, int(listening[1]), log)


@asynccontextmanager
async def two_servers(
    settings: Settings, directory: Path
) -> AsyncIterator[tuple[ServerProcess, ServerProcess]]:
    """Run two servers by the same settings."""
    directories = [directory / name for name in ("one", "other")]
    for each in directories:
        each.mkdir()
    async with AsyncExitStack() as stack:
        async with asyncio.TaskGroup() as starts:
            one, other = [
                starts.create_task(stack.enter_async_context(server_process(settings, each)))
                for each in directories
            ]
        yield one.result(), other.result()


@asynccontextmanager
async def two_clients(
    settings: Settings, directory: Path
) -> AsyncIterator[tuple[httpx2.AsyncClient, ...]]:
    """Run two servers, and yield a client of each."""
    async with two_servers(settings, directory) as servers, AsyncExitStack() as stack:
        clients = [
            httpx2.AsyncClient(
                base_url=server.address, transport=httpx2.AsyncHTTPTransport(), timeout=PATIENCE
            )
            for server in servers
        ]
        yield tuple([await stack.enter_async_context(client) for client in clients])


@asynccontextmanager
async def process_group(*command: str, **options: Any) -> AsyncIterator[Process]:
    """Run a command during the block; its child processes end with it."""
    process = await asyncio.create_subprocess_exec(*command, start_new_session=True, **options)
    try:
        yield process
    finally:
        # It has its own session, so its workers can be killed with it.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the environment variables of these settings, as far as they are set."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.upper().startswith("APP_")
    }
    return inherited | _variables(settings)


def _variables(settings: Settings) -> dict[str, str]:
    variables = {}
    for name, value in settings:
        if isinstance(value, BaseModel):
            for field in value.model_fields_set:
                variables[f"APP_{name}__{field}".upper()] = _text(getattr(value, field))
        elif name in settings.model_fields_set:
            variables[f"APP_{name}".upper()] = _text(value)
    return variables


def _text(value: object) -> str:
    match value:
        case SecretStr():
            return value.get_secret_value()
        case bool():
            return str(value).lower()
        case list():
            return ",".join(value)
        case None:
            return ""
        case _:
            return str(value)
