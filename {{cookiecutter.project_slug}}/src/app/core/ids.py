"""Identifiers, one type per kind of thing.

All are UUIDs of version 7 (RFC 9562 §5.7): made by us, unguessable enough for the outside,
and sorted by creation, which keeps the indexes of the database compact.
"""

from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """Return a new UUID of version 7."""
    return uuid7()
