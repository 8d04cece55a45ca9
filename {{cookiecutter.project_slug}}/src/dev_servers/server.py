"""A server, as those who use it see it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Server:
    """Something that answers at an address.

    Attributes:
        name: What it is, such as `PostgreSQL`.
        url: Where it is, in the form that the setting for it has. May hold a password.
        source: Where it comes from, in words for people, such as
            `PostgreSQL 17.2 from /usr/lib/postgresql/17/bin`.
    """

    name: str
    url: str
    source: str


class ServerUnavailable(Exception):
    """No way led to a server; the message tells which were tried, and why each failed."""
