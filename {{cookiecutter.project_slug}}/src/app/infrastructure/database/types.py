"""Column types."""

from sqlalchemy import DateTime

UtcDateTime = DateTime(timezone=True)
"""A moment: PostgreSQL keeps it as `timestamptz`, and asyncpg returns it aware, in UTC."""
