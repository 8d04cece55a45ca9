"""The file stores under contract."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from app.core.config.storage import StorageSettings
from app.infrastructure.storage import Storage
from tests.support.s3_plugin import SMALLEST_PART

STORES: Final = ("s3_settings", "moto_settings")
"""Fixtures with the settings of each: one checks signatures, the other knows more of S3."""

LARGE: Final = 13 * 1024 * 1024
"""In bytes: takes three parts."""


@asynccontextmanager
async def opened(
    request: pytest.FixtureRequest, name: str, directory: Path
) -> AsyncIterator[Storage]:
    """Yield a store."""
    settings: StorageSettings = request.getfixturevalue(name)
    smallest_parts = settings.model_copy(update={"part_size": SMALLEST_PART})
    async with AsyncExitStack() as stack:
        yield Storage(smallest_parts, stack)
