"""A server, as its users see it."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Server:
    """Something that answers at an address.

    Attributes:
        url: Its address, in the form that the setting for it takes; may hold a password.
        source: Product, version and origin, for people.
        environment: Further variables that its users need.
    """

    url: str
    source: str
    environment: Mapping[str, str] = field(default_factory=dict)


class ServerUnavailable(Exception):
    """A server did not start; the message says why."""
