"""The floor of live events: a message is published to Redis and sent to all sockets.

Checks the token as the floor does. No queue per client, limits or presence; a slow reader delays
everybody.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from fastapi.security import HTTPAuthorizationCredentials
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import (
    WebSocket,
    WebSocketDisconnect,
)

from benchmarks.apps import floor

CHANNEL = "lobby"
sockets: set[WebSocket] = set()


async def hear(redis: Redis) -> None:
    """Send each published message to all sockets."""
    async with redis.pubsub() as subscription:
        await subscription.subscribe(CHANNEL)
        async for message in subscription.listen():
            if message["type"] == "message":
                text = message["data"].decode()
                for socket in tuple(sockets):
                    with suppress(WebSocketDisconnect, RuntimeError):
                        await socket.send_text(text)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Open the floor's pool, and subscribe."""
    async with floor.lifespan(floor.app), Redis.from_url(os.environ["APP_REDIS__URL"]) as redis:
        app.state.redis = redis
        hearing = asyncio.create_task(hear(redis))
        yield
        hearing.cancel()


async def open_channel(socket: WebSocket) -> None:
    """Receive and publish until the client disconnects."""
    scheme, _, token = socket.headers["authorization"].partition(" ")
    user = await floor.current_user(HTTPAuthorizationCredentials(scheme=scheme, credentials=token))
    sender = {"user_id": str(user["id"]), "username": user["username"]}
    await socket.accept()
    await socket.send_json({"type": "welcome"})
    sockets.add(socket)
    try:
        async for message in socket.iter_json():
            now = datetime.now(UTC).isoformat()
            said = {"type": "said", "sender": sender, "text": message["text"], "sent_at": now}
            await app.state.redis.publish(CHANNEL, json.dumps(said))
    finally:
        sockets.discard(socket)


app = Starlette(routes=[WebSocketRoute("/api/v1/ws/lobby", open_channel)], lifespan=lifespan)
