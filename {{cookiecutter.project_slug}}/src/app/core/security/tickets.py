"""Tickets: 256 random bits that open one WebSocket, stored only as a hash.

Browsers can't send a header when they open one, and what stands in an address ends up in logs:
hence a secret that is worth nothing a moment later.
"""

import secrets
from typing import Final

from app.core.security.secrets import digest

TICKET_PREFIX: Final = "tk_"
_RANDOM_BYTES: Final = 32
TICKET_MARK: Final = "tk"
"""What the hashes of tickets begin with; in hexadecimal there is no such letter."""
_LENGTH: Final = 64


def new_ticket() -> str:
    """Return a new ticket."""
    return TICKET_PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def ticket_hash(ticket: str) -> str:
    """Return the hash under which a ticket is stored; that of another secret never looks like it.

    244 bits of the SHA-256 are left beside the mark, which is more than enough.
    """
    return f"{TICKET_MARK}{digest(ticket)}"[:_LENGTH]
