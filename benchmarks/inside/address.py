"""Where the database is, as asyncpg has it."""

import os


def dsn() -> str:
    """Return the address that the service is given, without SQLAlchemy's name of the driver."""
    return os.environ["APP_DATABASE__URL"].replace("postgresql+asyncpg://", "postgresql://", 1)
