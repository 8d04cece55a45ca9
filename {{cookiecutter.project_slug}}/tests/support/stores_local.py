"""The file stores that the contract of them all is tried on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from app.config import Settings
from app.infrastructure.storage import Storage, open_storage

STORES: Final = ("directory",)
"""Their names."""

LARGE: Final = 3 * 1024 * 1024
"""In bytes: takes many writes."""


@asynccontextmanager
async def opened(
    request: pytest.FixtureRequest, name: str, directory: Path
) -> AsyncIterator[Storage]:
    """Yield a store."""
    settings = Settings(environment="test")
    storage = settings.storage.model_copy(update={"directory": str(directory / name)})
    async with open_storage(settings.model_copy(update={"storage": storage})) as store:
        yield store
