"""Where events go: to the log."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.config import Settings
from app.infrastructure.events.logged import LoggedEvents


@asynccontextmanager
async def open_events(settings: Settings) -> AsyncIterator[LoggedEvents]:
    """Yield what takes events; nothing has to be set for it."""
    del settings
    yield LoggedEvents()
