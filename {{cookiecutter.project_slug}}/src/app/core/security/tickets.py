"""Tickets that open one WebSocket each.

Browsers can't send a header when they open one, and URLs end up in logs: hence a secret that is
valid for a moment and used once.
"""

from typing import Final

from app.core.security.secrets import digest, new_secret

TICKET_PREFIX: Final = "tk_"
TICKET_MARK: Final = "tk"
"""Prefix of the hashes of tickets; no other hash has it, as it is not hexadecimal."""


def new_ticket() -> str:
    """Return a new ticket."""
    return new_secret(TICKET_PREFIX)


def ticket_hash(ticket: str) -> str:
    """Return the hash of a ticket: 248 bits of its SHA-256 behind the mark."""
    return f"{TICKET_MARK}{digest(ticket)}"[:64]
