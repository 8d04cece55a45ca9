"""Waiting for another process, a server or another task."""

import asyncio
import time
from collections.abc import Awaitable, Callable

PATIENCE = 60.0
"""Seconds after which a test gives up."""

_LOOK_SECONDS = 0.01


async def eventually(holds: Callable[[], Awaitable[bool]], what: str = "it holds") -> None:
    """Poll until a condition holds."""
    give_up = time.monotonic() + PATIENCE
    while not await holds():
        assert time.monotonic() < give_up, f"in {PATIENCE} seconds it did not happen that {what}"
        await asyncio.sleep(_LOOK_SECONDS)
