"""Events in the log."""

import asyncio
from dataclasses import dataclass
from uuid import UUID

from fastapi import FastAPI, Request
from httpx2 import ASGITransport, AsyncClient
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from app.core.config import HttpSettings
from app.core.ids import new_id
from app.infrastructure.events import LoggedEvents
from app.infrastructure.http.context import identify
from app.infrastructure.http.middleware import middleware


@dataclass(frozen=True)
class ThingChanged:
    thing_id: UUID
    version: int


async def test_an_event_is_a_line_of_the_log() -> None:
    event = ThingChanged(new_id(), 7)
    with capture_logs() as lines:
        await LoggedEvents().publish(event)
    values = {"event": "thing changed", "thing_id": str(event.thing_id), "version": 7}
    assert lines == [{**values, "log_level": "info"}]


async def test_events_of_a_request_are_in_its_line_until_it_is_written() -> None:
    app = FastAPI(middleware=middleware(HttpSettings()))
    first, late = ThingChanged(new_id(), 7), ThingChanged(new_id(), 8)
    user_id, answered = new_id(), asyncio.Event()
    tasks = []

    async def publish_later() -> None:
        await answered.wait()
        await LoggedEvents().publish(late)

    @app.post("/things")
    async def create_thing(request: Request) -> None:
        identify(request, user_id)
        await LoggedEvents().publish(first)
        tasks.append(asyncio.create_task(publish_later()))

    with capture_logs([merge_contextvars]) as lines:
        async with AsyncClient(transport=ASGITransport(app), base_url="http://api") as client:
            await client.post("/things")
        answered.set()
        await tasks[0]

    assert [line["event"] for line in lines] == ["request", "thing changed"]
    assert lines[0]["events"] == [
        {"event": "thing changed", "thing_id": str(first.thing_id), "version": 7}
    ]
    assert lines[1]["version"] == 8
    assert [line["user_id"] for line in lines] == [str(user_id)] * 2
