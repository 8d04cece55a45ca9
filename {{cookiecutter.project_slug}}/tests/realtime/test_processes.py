"""A server process with a thousand clients: memory and shutdown."""

import asyncio
import re
import resource
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from app.config import Settings
from app.resources import open_resources
from app.tasks import TASKS
from tests.support.arrange import Arrange
from tests.support.processes import ServerProcess, server_process
from tests.support.sockets import opened, raw_connection
from tests.support.waiting import PATIENCE

CONNECTIONS = 1000
AT_ONCE = 50
MEMORY_OF_EACH = 64 * 1024
"""Maximum memory of an idle connection, in bytes. It takes about 48 KiB, most of it for the objects
of its request."""


@pytest.fixture
def _many_files() -> Iterator[None]:
    """Each connection is a file, here and in the server, which inherits the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * CONNECTIONS)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def own_settings(make_settings: Callable[..., Settings], own_database_url: str) -> Settings:
    return make_settings(
        own_database_url,
        rate_limits={"enabled": False},
        realtime={"connections_per_user": 2 * CONNECTIONS, "presence_limit": 0},
        logging={"format": "console"},
    )


@pytest.fixture
async def arrange(own_settings: Settings, password_hash: str) -> AsyncIterator[Arrange]:
    with capture_logs():
        async with open_resources(own_settings, TASKS) as resources:
            yield Arrange(lambda: resources, password_hash)


@pytest.fixture
async def server(
    own_settings: Settings, tmp_path: Path, _many_files: None
) -> AsyncIterator[ServerProcess]:
    async with server_process(own_settings, tmp_path) as server:
        yield server


async def memory_of(server: ServerProcess) -> int:
    """The memory of the worker, in bytes."""
    worker = re.search(r"Booting worker with pid: (\d+)", server.log.read_text())
    assert worker is not None
    done = await asyncio.to_thread(
        subprocess.run,
        ["ps", "-o", "rss=", "-p", worker[1]],
        capture_output=True,
        check=True,
        timeout=PATIENCE,
    )
    return int(done.stdout) * 1024


class TestThousandConnections:
    async def test_use_little_memory_and_are_closed_at_once(
        self,
        server: ServerProcess,
        arrange: Arrange,
        record_property: Callable[[str, object], None],
    ) -> None:
        admin = await arrange.account(role="admin")
        async with AsyncExitStack() as stack:

            async def enter() -> asyncio.StreamReader:
                reader, _ = await stack.enter_async_context(raw_connection(server.port, admin))
                assert b'"welcome"' in await reader.readuntil(b"}")
                return reader

            # The first connections fill caches and import code.
            readers = await asyncio.gather(*(enter() for _ in range(AT_ONCE)))
            before = await memory_of(server)
            for _ in range(CONNECTIONS // AT_ONCE):
                readers += await asyncio.gather(*(enter() for _ in range(AT_ONCE)))
            each = (await memory_of(server) - before) // CONNECTIONS
            record_property("bytes of each idle connection", each)

            async with opened(server.port, admin) as speaker:
                await speaker.send(type="announce", text="Everybody out")
                heard = await asyncio.gather(
                    *(reader.readuntil(b"Everybody out") for reader in readers)
                )
            server.process.terminate()
            async with asyncio.timeout(PATIENCE):
                code = await server.process.wait()
            ends = await asyncio.gather(*(reader.read() for reader in readers))

        assert each < MEMORY_OF_EACH
        assert len(heard) == CONNECTIONS + AT_ONCE
        assert code == 0
        # A close frame with the code 1012.
        assert {end[-4:] for end in ends} == {b"\x88\x02\x03\xf4"}
