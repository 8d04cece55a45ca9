"""A server, as those who use it see it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Server:
    """Something that answers at an address.

    Attributes:
        name: What it is.
        url: Where it is, in the form that the setting for it has. May hold a password.
        source: What it is, which version, and where it comes from, in words for people.
    """

    name: str
    url: str
    source: str


class ServerUnavailable(Exception):
    """No way led to a server; the message tells which were tried, and why each failed."""
