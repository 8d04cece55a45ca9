"""A service that kills itself while it carries out a request, or delivers a job."""

import asyncio
import multiprocessing
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.process import BaseProcess
from typing import Any, Final

import pytest
import uvicorn

from app.config import Settings
from app.infrastructure.idempotency import IdempotencyKeys
from app.infrastructure.outbox import Relay
from app.main import create_app
from tests.support.things import Things, with_things
from tests.support.waiting import PATIENCE

POINTS: Final = ("claimed", "written", "answered", "committed")
"""The points of a request with a key at which a service dies."""

JOB_POINTS: Final = ("woken", "claimed", "delivered")
"""The points between the commit of a job and the end of its delivery."""

# Imports once what each service needs.
_FORKS: Final = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([__name__])


@asynccontextmanager
async def mortal_service(settings: Settings, point: str) -> AsyncIterator[str]:
    """Run a service by these settings that dies at a point, and see it die; yield its address."""
    # Connections to the socket wait for the service.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = _FORKS.Process(target=_serve, args=(settings, point, listener), daemon=True)
        await asyncio.to_thread(process.start)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            assert await _exit_code(process) == -signal.SIGKILL
        finally:
            process.kill()
            process.join()
            process.close()


async def _exit_code(process: BaseProcess) -> int | None:
    await asyncio.to_thread(process.join, PATIENCE)
    return process.exitcode


def _serve(settings: Settings, point: str, listener: socket.socket) -> None:
    _die_at(point)
    config = uvicorn.Config(with_things(create_app(settings)), log_config=None)
    uvicorn.Server(config).run([listener])


def _die_at(point: str) -> None:
    create, keep = Things.create, IdempotencyKeys.keep

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
