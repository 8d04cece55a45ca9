"""A real server, for streams, sockets and clients that disconnect."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import uvicorn
from fastapi import FastAPI

from tests.support.waiting import PATIENCE


@dataclass
class LiveServer:
    """A server in this process, on a port."""

    server: uvicorn.Server
    serving: "asyncio.Task[None]"
    port: int

    async def stop(self) -> None:
        """Stop as on a signal, and wait for it."""
        self.server.should_exit = True
        async with asyncio.timeout(PATIENCE):
            await self.serving


@asynccontextmanager
async def live(
    app: FastAPI, *, send_buffer: int | None = None, **options: Any
) -> AsyncIterator[LiveServer]:
    """Serve a started application over TCP."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        if send_buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, **options)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve([listener]))
        running = LiveServer(server, serving, listener.getsockname()[1])
        try:
            yield running
        finally:
            await running.stop()


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """Yield a client of a started application that is served over TCP."""
    async with live(app) as server:
        address = f"http://127.0.0.1:{server.port}"
        async with httpx2.AsyncClient(base_url=address, timeout=PATIENCE) as client:
            yield client
