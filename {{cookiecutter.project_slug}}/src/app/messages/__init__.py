"""WebSocket messages: a module per feature, each registered here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from app.core.ports import Events
from app.infrastructure.database import Database
from app.infrastructure.realtime import FanOutSettings, Hub, LiveEvents, Messages
from app.messages import chat, items
from app.services.realtime import recheck

MESSAGES: Final = Messages(
    chat.MESSAGES,
    items.MESSAGES,
)


@asynccontextmanager
async def open_events(
    settings: FanOutSettings, database: Database, events: Events
) -> AsyncIterator[LiveEvents]:
    """Yield the announced events, with a hub that rechecks its connections in the database."""
    async with Hub.open(settings, partial(recheck, database)) as hub:
        yield LiveEvents(events, hub, MESSAGES.announced)
