"""Two processes of the service: limits and sessions are shared."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx2
import pytest

from app.config import Settings
from app.resources import Resources, open_resources
from app.tasks import TASKS
from tests.support.arrange import Arrange, Someone
from tests.support.databases import TestDatabases
from tests.support.processes import server_process
from tests.support.waiting import PATIENCE

ME = "/api/v1/users/me"
LIMIT = 12


@pytest.fixture(scope="module")
def shared(make_settings: Callable[..., Settings], databases: TestDatabases) -> Iterator[Settings]:
    """The settings of a service with a database of its own."""
    url = databases.create()
    yield make_settings(url, rate_limits={"general_account": f"{LIMIT}/day"})
    databases.drop(url)


@pytest.fixture(scope="module")
async def addresses(
    shared: Settings, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[str, ...]]:
    directories = [tmp_path_factory.mktemp("process") for _ in range(2)]
    async with AsyncExitStack() as stack:
        async with asyncio.TaskGroup() as starts:
            servers = [
                starts.create_task(stack.enter_async_context(server_process(shared, each)))
                for each in directories
            ]
        yield tuple(server.result().address for server in servers)


@pytest.fixture(scope="module")
async def resources(shared: Settings) -> AsyncIterator[Resources]:
    async with open_resources(shared, TASKS) as resources:
        yield resources


@pytest.fixture
async def someone(resources: Resources, password_hash: str) -> Someone:
    return await Arrange(lambda: resources, password_hash).someone()


@asynccontextmanager
async def clients(
    addresses: tuple[str, ...], someone: Someone
) -> AsyncIterator[tuple[httpx2.AsyncClient, httpx2.AsyncClient]]:
    one, other = (
        httpx2.AsyncClient(
            base_url=address,
            headers=someone.headers,
            transport=httpx2.AsyncHTTPTransport(),
            timeout=PATIENCE,
        )
        for address in addresses
    )
    async with one, other:
        yield one, other


class TestTwoProcesses:
    async def test_share_rate_limits(self, addresses: tuple[str, ...], someone: Someone) -> None:
        async with clients(addresses, someone) as pair:
            statuses = [(await pair[n % 2].get(ME)).status_code for n in range(LIMIT + 2)]
        assert statuses == [200] * LIMIT + [429] * 2

    async def test_share_ended_sessions(self, addresses: tuple[str, ...], someone: Someone) -> None:
        async with clients(addresses, someone) as (one, other):
            for client in (one, other):
                assert (await client.get(ME)).status_code == 200
            body = {"refresh_token": someone.refresh_token}
            assert (await one.post("/api/v1/auth/logout", json=body)).status_code == 204
            for client in (other, one):
                assert (await client.get(ME)).status_code == 401
