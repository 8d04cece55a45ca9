"""WebSocket messages: a module per feature, each registered here."""

from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Final

from app.infrastructure.database import Database
from app.infrastructure.realtime import FanOutSettings, Hub, Messages
from app.messages import chat, items
from app.services.realtime import recheck

MESSAGES: Final = Messages(
    chat.MESSAGES,
    items.MESSAGES,
)


def open_hub(settings: FanOutSettings, database: Database) -> AbstractAsyncContextManager[Hub]:
    """Open a hub that rechecks its connections in the database."""
    return Hub.open(settings, partial(recheck, database))
