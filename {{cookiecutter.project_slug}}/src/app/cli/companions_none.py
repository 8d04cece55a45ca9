"""What `app dev` runs beside the service."""

from collections.abc import Iterator
from contextlib import contextmanager

from app.config import Settings


@contextmanager
def companions(settings: Settings, *, reload: bool) -> Iterator[None]:
    """Run nothing: the service does its jobs itself.

    Args:
        settings: With the addresses of all servers.
        reload: Whether to start again whenever a source file changes.
    """
    del settings, reload
    yield
