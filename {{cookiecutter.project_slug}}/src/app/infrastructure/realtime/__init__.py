"""WebSockets: connections, channels, presence, and the fan-out to other processes."""

from app.infrastructure.realtime.connections import Client, Close, Connection
from app.infrastructure.realtime.fanout import FanOutSettings
from app.infrastructure.realtime.hub import Hub
from app.infrastructure.realtime.messages import ClientMessage, ServerMessage
from app.infrastructure.realtime.registry import FeatureMessages, Messages

__all__ = [
    "Client",
    "ClientMessage",
    "Close",
    "Connection",
    "FanOutSettings",
    "FeatureMessages",
    "Hub",
    "Messages",
    "ServerMessage",
]
