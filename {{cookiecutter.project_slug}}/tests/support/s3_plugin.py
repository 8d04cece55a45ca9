"""Gives the tests their S3: one server that checks signatures, one that knows more of S3.

The process that starts the run starts them when somebody first asks, and its workers learn from it
where they are. Each process works in a folder of its own.
"""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, ExitStack
from copy import copy
from dataclasses import asdict
from typing import Any, Final

import pytest

from app.core.config.storage import StorageSettings
from app.infrastructure.storage import Storage
from dev_servers import Server, ServerUnavailable
from dev_servers.s3 import moto, rclone
from tests.support.waiting import PATIENCE

LARGEST_FILE: Final = 512 * 1024
"""In bytes: what applications under test take, unless a test says otherwise."""

SMALLEST_PART: Final = 5 * 1024 * 1024
"""In bytes: of less, S3 takes no part but the last."""

_PATIENT: Final = {
    "connect_timeout": PATIENCE,
    "read_timeout": PATIENCE,
    "call_timeout": PATIENCE,
    "removal_timeout": PATIENCE,
}
"""On a slow machine, S3 is not taken for gone. A test in which it goes sets its own limits."""

_ADDRESSES: Final = "s3_servers"
_RUN: Final = pytest.StashKey["_Run"]()


class _Run:
    """The servers of this run, from the moment they are needed."""

    def __init__(self, addresses: Mapping[str, Any] | None) -> None:
        self.stack = ExitStack()
        self.folder = f"test-{secrets.token_hex(6)}"
        self._servers = {name: Server(**each) for name, each in (addresses or {}).items()}

    def server(self, name: str) -> Server:
        if name not in self._servers:
            opened = moto() if name == "moto" else rclone(given=None, given_by="-", directory=None)
            try:
                self._servers[name] = self.stack.enter_context(opened)
            except ServerUnavailable as error:
                raise pytest.UsageError(str(error)) from error
        return self._servers[name]

    def settings(self, name: str) -> dict[str, Any]:
        """The group of settings by which an application finds a server, and its own folder."""
        server = self.server(name)
        return {
            **{
                variable.rpartition("__")[2].lower(): value
                for variable, value in server.environment.items()
            },
            "endpoint_url": server.url,
            "directory": self.folder,
            **_PATIENT,
        }


def pytest_configure(config: pytest.Config) -> None:
    workerinput = getattr(config, "workerinput", {})
    config.stash[_RUN] = _Run(workerinput.get(_ADDRESSES))


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_RUN].stack.close()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist where the servers are."""
    run = node.config.stash[_RUN]
    node.workerinput[_ADDRESSES] = {name: asdict(run.server(name)) for name in ("rclone", "moto")}


def pytest_report_header(config: pytest.Config) -> str | None:
    if config.option.collectonly:
        return None
    return f"servers: S3, {config.stash[_RUN].server('rclone').source}, and moto beside it"


def pytest_app_settings(config: pytest.Config) -> dict[str, dict[str, Any]]:
    return {"storage": {**config.stash[_RUN].settings("rclone"), "max_file_bytes": LARGEST_FILE}}


@pytest.fixture(scope="session")
def s3_settings(request: pytest.FixtureRequest) -> StorageSettings:
    """Settings of the server that checks signatures, in the folder of this process."""
    return StorageSettings(**request.config.stash[_RUN].settings("rclone"))


@pytest.fixture(scope="session")
def moto_settings(request: pytest.FixtureRequest) -> StorageSettings:
    """Settings of the server that knows more of S3, in the folder of this process."""
    return StorageSettings(**request.config.stash[_RUN].settings("moto"))


@pytest.fixture(scope="session")
async def s3_storage(s3_settings: StorageSettings) -> AsyncIterator[Storage]:
    """The store itself, for asynchronous tests: to make its client takes a while."""
    async with AsyncExitStack() as stack:
        storage = Storage(s3_settings, stack)
        await storage.ping()
        yield storage


@pytest.fixture
def own_storage(s3_storage: Storage) -> Storage:
    """The same, in a folder for one test alone."""
    storage = copy(s3_storage)
    storage._folder = f"test-{secrets.token_hex(6)}/"
    storage._settings = storage._settings.model_copy(update={"part_size": SMALLEST_PART})
    return storage


def nobody(settings: StorageSettings) -> StorageSettings:
    """Settings of a store that isn't there."""
    return settings.model_copy(update={"endpoint_url": "http://127.0.0.1:1", "max_attempts": 1})
