"""PostgreSQL fails in its own ways: clients get a 503 each time, and the service recovers."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from typing import Any, Final

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.engine import make_url
from structlog.testing import capture_logs

from app.config import Settings
from app.core.errors import DatabaseUnavailable
from app.infrastructure.database import Database, migrations
from app.main import create_app
from app.resources import Resources
from dev_servers import postgresql
from tests.conftest import async_client_of
from tests.support.arrange import Account, Arrange, bearer
from tests.support.databases import execute
from tests.support.faults import assert_unavailable
from tests.support.serving import served
from tests.support.things import CREATE_TABLE, EXPORT, ThingFactory
from tests.support.waiting import PATIENCE, eventually

ME: Final = "/api/v1/users/me"
CHANGE: Final = {"full_name": "Survivor"}
OTHERS: Final = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
FATAL: Final = b"SFATAL\0C57P01\0Mterminating connection\0\0"
END_ALL_OTHERS: Final = OTHERS.replace("count(*)", "count(pg_terminate_backend(pid))")


@pytest.fixture(scope="module")
def private_url() -> Iterator[str]:
    """A database on a separate server, which the test may kill."""
    with postgresql.opened(None) as server:
        with ThreadPoolExecutor(1) as thread:  # where no loop runs
            thread.submit(migrations.upgrade, server.url).result()
        yield server.url


class TestServerThatCrashes:
    async def test_is_answered_with_503_under_load_and_comes_back_by_itself(
        self, make_settings: Callable[..., Settings], private_url: str, password_hash: str
    ) -> None:
        settings = make_settings(private_url, rate_limits={"enabled": False})
        async with running(settings, password_hash) as (app, client, ada):
            database: Database = app.state.resources.database
            async with database.read() as connection:
                # A throw-away server writes nothing down before it is told to.
                await connection.execute(text("CHECKPOINT"))
            load = Load(client, ada)
            async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as clients:
                for _ in range(8):
                    clients.create_task(load.ask_until_recovered())
                while not load.failures:
                    await load.answered.wait()
                    await crash(database)

            async def is_stored() -> bool:
                response = await client.patch(ME, headers=ada.headers, json=CHANGE)
                return response.status_code == 200

            # The last crash may have come when clients had recovered from the one before.
            await eventually(is_stored, "a change is stored")

        assert load.failures != []
        for failure in load.failures:
            assert_unavailable(failure)


class TestServerThatHangs:
    async def test_is_answered_with_503_in_time_and_comes_back_by_itself(
        self, make_settings: Callable[..., Settings], private_url: str, password_hash: str
    ) -> None:
        limits = {"pool_size": 1, "statement_timeout": 0.5, "connect_timeout": 1}
        # After a second, a ping would find out, and a new connection take the place of this one.
        unseen = {"pool_pre_ping": False}
        settings = make_settings(private_url, database=limits | unseen)
        async with running(settings, password_hash) as (app, client, ada):
            backend = await once_in_time(lambda: backend_of(app.state.resources.database))

            with stopped(backend):
                async with asyncio.timeout(PATIENCE):
                    refused = await client.get(ME, headers=ada.headers)

            async def is_answered() -> bool:
                return (await client.get(ME, headers=ada.headers)).status_code == 200

            await eventually(is_answered, "it is answered")

        assert_unavailable(refused)

    async def test_is_named_if_it_does_not_accept_a_connection_in_time(
        self, make_settings: Callable[..., Settings]
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"postgresql+asyncpg://app:app@127.0.0.1:{silent.getsockname()[1]}/app"
            settings = make_settings(url, database={"connect_timeout": 0.1})
            async with Database.open(settings.database, pool_size=1) as database:
                with pytest.raises(DatabaseUnavailable) as refused:
                    await backend_of(database)
        assert refused.value.context == {"reason": "TimeoutError"}


class TestReadOnlyServer:
    async def test_is_degraded(
        self, make_settings: Callable[..., Settings], own_database_url: str, password_hash: str
    ) -> None:
        async with running(make_settings(own_database_url), password_hash) as (_, client, ada):
            key = await create_api_key(client, ada)
            name = make_url(own_database_url).database
            change = f"ALTER DATABASE {name} SET default_transaction_read_only = on"
            await asyncio.to_thread(execute, own_database_url, change)
        app = create_app(make_settings(own_database_url))
        async with app.router.lifespan_context(app), async_client_of(app) as client:
            refused = await client.patch(ME, headers=ada.headers, json=CHANGE)
            read = await client.get(ME, headers=ada.headers)
            read_with_key = await client.get(ME, headers=bearer(key))
            ready = await client.get("/ready")

        assert_unavailable(refused)
        assert (read.status_code, ready.status_code) == (200, 200)
        assert read_with_key.status_code == 200
        statuses = {each["name"]: each["status"] for each in ready.json()["checks"]}
        assert (statuses["database"], statuses["database_writes"]) == ("up", "degraded")


class TestServerThatIsAway:
    async def test_is_not_noticed_if_it_was_away_between_requests(
        self,
        own_client: httpx2.AsyncClient,
        arrange_own: Arrange,
        own_database_url: str,
    ) -> None:
        ada = await arrange_own.account()

        await run(own_database_url, END_ALL_OTHERS)
        await nobody_else_is_connected(own_database_url)
        response = await own_client.get(ME, headers=ada.headers)

        assert response.status_code == 200

    async def test_is_not_noticed_while_it_shuts_down(
        self, own_app: FastAPI, own_client: httpx2.AsyncClient, arrange_own: Arrange
    ) -> None:
        ada = await arrange_own.account()
        await half_close(own_app)
        read = await own_client.get(ME, headers=ada.headers)
        await half_close(own_app)
        async with own_app.state.resources.database.engine.connect() as connection:
            with pytest.raises(DatabaseUnavailable):
                await connection.execute(text("SELECT 1"))
        again = await own_client.get(ME, headers=ada.headers)

        assert (read.status_code, again.status_code) == (200, 200)

    async def test_aborts_the_transaction_in_progress(
        self,
        own_app: FastAPI,
        own_client: httpx2.AsyncClient,
        arrange_own: Arrange,
        own_database_url: str,
    ) -> None:
        ada = await arrange_own.account()
        database: Database = own_app.state.resources.database
        async with database.transaction() as session:
            await session.execute(text("SELECT 1 FROM users FOR UPDATE"))
            change = asyncio.create_task(
                own_client.patch(ME, headers=ada.headers, json={"full_name": "Lost"})
            )
            await somebody_waits(own_database_url)
            await run(own_database_url, f"{END_ALL_OTHERS} AND wait_event_type = 'Lock'")
            response = await change
        after = await own_client.get(ME, headers=ada.headers)

        assert_unavailable(response)
        assert after.json()["full_name"] != "Lost"

    async def test_aborts_an_export_in_progress(
        self, own_app: FastAPI, arrange_own: Arrange, own_database_url: str
    ) -> None:
        ada = await arrange_own.account()
        await arrange_own.execute(CREATE_TABLE)
        more = "more than sockets hold" * 500
        await arrange_own.store(
            *(ThingFactory.build(owner_id=ada.id, title=more) for _ in range(1000))
        )
        with capture_logs() as log:
            async with (
                served(own_app) as client,
                client.stream("GET", EXPORT, headers=ada.headers) as response,
            ):
                chunks = response.aiter_raw()
                await anext(chunks)
                await run(own_database_url, END_ALL_OTHERS)
                with pytest.raises(httpx2.RemoteProtocolError):
                    async for _ in chunks:
                        pass

        code = DatabaseUnavailable.code
        ours = [line for line in log if line["event"] == "request" or line["log_level"] != "info"]
        lines = [line for line in ours if line["event"] != "slow statement"]
        assert [(line["event"], line["log_level"], line["code"]) for line in lines] == [
            ("unavailable", "warning", code),
            ("request", "info", code),
        ]


class Load:
    """Clients that keep sending requests while the database is down."""

    def __init__(self, client: httpx2.AsyncClient, account: Account) -> None:
        self._client = client
        self._someone = account
        self.answered = asyncio.Event()
        self.failures: list[httpx2.Response] = []

    async def ask_until_recovered(self) -> None:
        """Send requests until some have failed and the service has recovered."""
        while not await self._is_answered() or not self.failures:
            pass

    async def _is_answered(self) -> bool:
        response = await self._client.get(ME, headers=self._someone.headers)
        self.answered.set()
        if response.status_code != 200:
            self.failures.append(response)
        return response.status_code == 200


@asynccontextmanager
async def running(
    settings: Settings, password_hash: str
) -> AsyncIterator[tuple[FastAPI, httpx2.AsyncClient, Account]]:
    """An application with a logged-in user."""
    app = create_app(settings)
    async with app.router.lifespan_context(app), async_client_of(app) as client:
        resources: Resources = app.state.resources
        arrange = Arrange(lambda: resources, password_hash)
        yield app, client, await once_in_time(arrange.account)


async def once_in_time(ask: Callable[[], Awaitable[Any]]) -> Any:
    """Return the result once the database responds in time: a slow machine may need more tries."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await ask()
            except DatabaseUnavailable:
                await asyncio.sleep(0.01)


async def backend_of(database: Database) -> int:
    """Return the server process behind the next connection of the pool."""
    async with database.read() as connection:
        process: int = (await connection.scalars(text("SELECT pg_backend_pid()"))).one()
    return process


async def crash(database: Database) -> None:
    """Kill a server process: the server ends all others, and recovers; it may be at it already."""
    with suppress(DatabaseUnavailable, ProcessLookupError):
        os.kill(await backend_of(database), signal.SIGKILL)


async def create_api_key(client: httpx2.AsyncClient, owner: Account) -> str:
    wanted = {"name": "key", "scopes": ["profile:read"]}
    response = await client.post(f"{ME}/api-keys", json=wanted, headers=owner.headers)
    key: str = response.json()["key"]
    return key


@contextmanager
def stopped(process: int) -> Iterator[None]:
    """Stop a process for the duration of the block."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


async def somebody_waits(url: str) -> None:
    """Return when a connection to a database waits for a lock."""

    async def one_does() -> bool:
        return await run(url, f"{OTHERS} AND wait_event_type = 'Lock'") != 0

    await eventually(one_does, "somebody waits for a lock")


async def half_close(app: FastAPI) -> None:
    """Let the server end all connections of the pool, and wait until the client has noticed."""
    engine = app.state.resources.database.engine
    async with AsyncExitStack() as stack:
        for _ in range(engine.sync_engine.pool.checkedin()):
            connection = await stack.enter_async_context(engine.connect())
            raw = await connection.get_raw_connection()
            protocol = raw.driver_connection._protocol
            protocol.data_received(b"E" + (len(FATAL) + 4).to_bytes(4) + FATAL)


async def nobody_else_is_connected(url: str) -> None:
    """Return when all connections to a database have ended."""

    async def nobody_is() -> bool:
        return await run(url, OTHERS) == 0

    await eventually(nobody_is, "all connections have ended")


async def run(url: str, statement: str) -> object:
    """Run a statement on a separate connection without blocking the loop; return its value."""
    (value,) = await asyncio.to_thread(execute, url, statement)
    return value
