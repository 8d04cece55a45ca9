"""A real server, for what shows on a socket alone: streams, and clients that go away."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import uvicorn
from fastapi import FastAPI

from tests.support.waiting import PATIENCE


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """Yield a client that talks to a started application over TCP."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # Connections wait in the socket's queue until the server takes them.
        config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve([listener]))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            async with httpx2.AsyncClient(base_url=address, timeout=PATIENCE) as client:
                yield client
        finally:
            server.should_exit = True
            await serving
