"""Identifiers: UUIDs of version 7 (RFC 9562 §5.7).

They sort by creation, which keeps the indexes of the database compact.
"""

from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """Return a new UUID of version 7."""
    return uuid7()
