"""A server, as those who use it see it."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Server:
    """Something that answers at an address.

    Attributes:
        name: What it is.
        url: Where it is, in the form that the setting for it has. May hold a password.
        source: What it is, which version, and where it comes from, in words for people.
        environment: What else has to be known to use it: values by the name of their variable.
    """

    name: str
    url: str
    source: str
    environment: Mapping[str, str] = field(default_factory=dict)


class ServerUnavailable(Exception):
    """No way led to a server; the message tells which were tried, and why each failed."""
