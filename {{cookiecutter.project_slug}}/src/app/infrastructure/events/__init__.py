"""Events: what has happened goes to whoever wants to know."""

from app.infrastructure.events.adapter import open_events
from app.infrastructure.events.logged import LoggedEvents

__all__ = ["LoggedEvents", "open_events"]
