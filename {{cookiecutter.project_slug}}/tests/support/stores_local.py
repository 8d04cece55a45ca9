"""The file stores under contract."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from app.core.config.storage import StorageSettings
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
    async with open_storage(StorageSettings(directory=str(directory / name))) as store:
        yield store
