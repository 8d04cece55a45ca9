"""A running server."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Server:
    """Address and origin of a server.

    Attributes:
        url: Its address, as the value of its setting; may contain a password.
        source: Product, version and origin, for people.
        environment: Further variables that its users need.
    """

    url: str
    source: str
    environment: Mapping[str, str] = field(default_factory=dict)


class ServerUnavailable(Exception):
    """A server did not start; the message says why."""
