"""S3 for tests: a server that checks signatures, and one with more of S3's operations.

Each process works in a folder of its own.
"""

import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, AsyncExitStack
from copy import copy
from functools import partial
from typing import Any, Final

import pytest

from app.core.config.storage import StorageSettings
from app.infrastructure.storage import Storage
from dev_servers import Server, moto, s3
from tests.support.servers import server
from tests.support.waiting import PATIENCE

LARGEST_FILE: Final = 512 * 1024
"""In bytes, unless a test sets another limit."""

SMALLEST_PART: Final = 5 * 1024 * 1024
"""In bytes: S3's minimum for all parts but the last."""

_PATIENT: Final = {
    "connect_timeout": PATIENCE,
    "read_timeout": PATIENCE,
    "call_timeout": PATIENCE,
    "removal_timeout": PATIENCE,
}
"""Long, for slow machines. Tests of outages set their own."""

_FOLDER: Final = f"test-{secrets.token_hex(6)}"
"""Folder of this process."""


def _settings(config: pytest.Config, name: str) -> dict[str, Any]:
    """Return the group of settings that names a server, and this process's folder on it."""
    found = server(config, name)
    return {
        **{
            variable.rpartition("__")[2].lower(): value
            for variable, value in found["environment"].items()
        },
        "endpoint_url": found["url"],
        "directory": _FOLDER,
        **_PATIENT,
    }


def pytest_run_servers() -> Mapping[str, Callable[[], AbstractContextManager[Server]]]:
    return {"s3": partial(s3.opened, None), "moto": moto.opened}


def pytest_app_settings(config: pytest.Config) -> dict[str, dict[str, Any]]:
    return {"storage": {**_settings(config, "s3"), "max_file_bytes": LARGEST_FILE}}


@pytest.fixture(scope="session")
def s3_settings(request: pytest.FixtureRequest) -> StorageSettings:
    """Settings of the server that checks signatures, in the folder of this process."""
    return StorageSettings(**_settings(request.config, "s3"))


@pytest.fixture(scope="session")
def moto_settings(request: pytest.FixtureRequest) -> StorageSettings:
    """Settings of the server with more of S3's operations, in the folder of this process."""
    return StorageSettings(**_settings(request.config, "moto"))


@pytest.fixture(scope="session")
async def s3_storage(s3_settings: StorageSettings) -> AsyncIterator[Storage]:
    """A store for asynchronous tests, shared because its client is slow to create."""
    async with AsyncExitStack() as stack:
        storage = Storage(s3_settings, stack)
        await storage.ping()
        yield storage


@pytest.fixture
def own_storage(s3_storage: Storage) -> Storage:
    """The same, in a folder of its own for the test."""
    storage = copy(s3_storage)
    storage._folder = f"test-{secrets.token_hex(6)}/"
    storage._settings = storage._settings.model_copy(update={"part_size": SMALLEST_PART})
    return storage


def nobody(settings: StorageSettings) -> StorageSettings:
    """Settings of a store that is unreachable."""
    return settings.model_copy(update={"endpoint_url": "http://127.0.0.1:1", "max_attempts": 1})
