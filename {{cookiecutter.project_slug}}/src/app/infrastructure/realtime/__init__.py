"""Live events: who is connected here, and what they hear."""

from app.infrastructure.realtime.hub import Hub
from app.infrastructure.realtime.registry import Connection

__all__ = ["Connection", "Hub"]
