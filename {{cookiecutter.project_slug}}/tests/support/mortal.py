"""A service that kills itself while it carries out a request, or delivers a job."""

import os
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from fastapi import FastAPI

from app.config import Settings, load_settings
from app.infrastructure.idempotency import IdempotencyKeys
from app.infrastructure.outbox import Relay
from app.main import create_app
from tests.support.processes import environment_of, process_group
from tests.support.things import Things, with_things

POINTS: Final = ("claimed", "written", "answered", "committed")
"""The points of a request with a key at which a service dies."""

JOB_POINTS: Final = ("woken", "claimed", "delivered")
"""The points between the commit of a job and the end of its delivery."""

_POINT: Final = "TEST_DIES_ONCE"
_ROOT: Final = Path(__file__).parents[2]


@asynccontextmanager
async def mortal_service(
    settings: Settings, point: str, directory: Path
) -> AsyncIterator[tuple[Process, str]]:
    """Run a service by these settings that dies at a point; yield its process and address."""
    # Connections to the socket wait for the service.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.fileno()
        command = (sys.executable, "-m", "uvicorn", "--factory", f"{__name__}:create_mortal")
        environment = environment_of(settings) | {_POINT: point, "PYTHONPATH": str(_ROOT)}
        async with process_group(
            *command, "--fd", str(number), pass_fds=[number], cwd=directory, env=environment
        ) as process:
            yield process, f"http://127.0.0.1:{listener.getsockname()[1]}"


def create_mortal() -> FastAPI:
    """Return the application of a service that dies."""
    create, keep, point = Things.create, IdempotencyKeys.keep, os.environ[_POINT]

    async def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    async def create_and_die(things: Things, *args: Any) -> Any:
        if point == "claimed":
            await die()
        thing = await create(things, *args)
        if point == "written":
            await die()
        if point == "committed":
            things.session.after_commit(die)
        return thing

    async def keep_and_die(*args: Any) -> None:
        await keep(*args)
        if point == "answered":
            await die()

    patch = pytest.MonkeyPatch()
    patch.setattr(Things, "create", create_and_die)
    patch.setattr(IdempotencyKeys, "keep", keep_and_die)
    for method, place in zip(("wake", "_try", "_settle"), JOB_POINTS, strict=True):
        if point == place:
            patch.setattr(Relay, method, die)
    return with_things(create_app(load_settings()))
