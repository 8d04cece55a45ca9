"""PostgreSQL fails in its own ways: clients get a 503 each time, and the service recovers."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from app.core.config import Settings
from app.infrastructure.database import Database, migrations
from app.main import create_app
from app.resources import Resources
from dev_servers.postgresql import execute, postgresql
from tests.conftest import async_client_of
from tests.support.arrange import Arrange, Someone
from tests.support.faults import assert_unavailable

ITEMS: Final = "/api/v1/items"
END_ALL_OTHERS: Final = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@pytest.fixture(scope="module")
def private_url() -> Iterator[str]:
    """A database on a server of our own, which we may kill."""
    with postgresql(given=None, given_by="nothing", directory=None) as server:
        migrations.upgrade(server.url)
        yield server.url


class TestServerThatCrashes:
    async def test_is_answered_with_503_under_load_and_comes_back_by_itself(
        self, make_settings: Callable[..., Settings], private_url: str, password_hash: str
    ) -> None:
        async with running(make_settings(private_url), password_hash) as (app, client, ada):
            async with app.state.resources.database.read() as connection:
                victim = (await connection.scalars(text("SELECT pg_backend_pid()"))).one()
            load = [asyncio.create_task(until_it_failed(client, ada)) for _ in range(8)]

            # The server ends all others and recovers, as it does whenever one of its own dies.
            os.kill(victim, signal.SIGKILL)

            async with asyncio.timeout(30):
                failures = await asyncio.gather(*load)
                answers = await asyncio.gather(*(until_it_answers(client, ada) for _ in range(8)))
            stored = await client.post(ITEMS, headers=ada.headers, json={"title": "Survivor"})

        for failure in failures:
            assert_unavailable(failure)
        assert {answer.status_code for answer in answers} == {200}
        assert stored.status_code == 201


class TestServerThatHangs:
    async def test_is_answered_with_503_in_time_and_comes_back_by_itself(
        self, make_settings: Callable[..., Settings], private_url: str, password_hash: str
    ) -> None:
        limits = {"pool_size": 1, "statement_timeout": 0.1, "connect_timeout": 0.2}
        settings = make_settings(private_url, database=limits)
        async with running(settings, password_hash) as (app, client, ada):
            async with app.state.resources.database.read() as connection:
                backend = (await connection.scalars(text("SELECT pg_backend_pid()"))).one()

            with stopped(backend):
                async with asyncio.timeout(10):
                    refused = await client.get(ITEMS, headers=ada.headers)
            answered = await client.get(ITEMS, headers=ada.headers)

        assert_unavailable(refused)
        assert answered.status_code == 200


class TestServerThatIsAway:
    async def test_is_answered_with_503(
        self, make_settings: Callable[..., Settings], settings: Settings
    ) -> None:
        app = create_app(make_settings("postgresql+asyncpg://app@/app?host=/nowhere"))
        async with app.router.lifespan_context(app), async_client_of(app) as client:
            account = {
                "email": "ada@example.com",
                "username": "ada",
                "password": "Analytical1Engine",
            }
            responses = [
                await client.post("/api/v1/users", json=account),
                await client.post("/api/v1/auth/token", data=account),
            ]
            ready = await client.get("/ready")

        for response in responses:
            assert_unavailable(response)
        assert ready.status_code == 503
        assert "nowhere" not in ready.text

    async def test_goes_unseen_if_it_was_away_while_nobody_asked(
        self,
        own_client: httpx2.AsyncClient,
        arrange_own: Arrange,
        own_database_url: str,
    ) -> None:
        ada = await arrange_own.someone()

        execute(own_database_url, END_ALL_OTHERS)
        response = await own_client.get(ITEMS, headers=ada.headers)

        assert response.status_code == 200

    async def test_goes_unseen_by_connections_that_have_not_noticed(
        self, own_app: FastAPI, own_client: httpx2.AsyncClient, arrange_own: Arrange
    ) -> None:
        ada = await arrange_own.someone()
        database: Database = own_app.state.resources.database
        async with database.read() as connection:
            raw = await connection.get_raw_connection()
            raw.driver_connection.terminate()
            await connection.invalidate()

        response = await own_client.get(ITEMS, headers=ada.headers)

        assert response.status_code == 200

    async def test_breaks_off_the_transaction_that_it_meets(
        self,
        own_app: FastAPI,
        own_client: httpx2.AsyncClient,
        arrange_own: Arrange,
        own_database_url: str,
    ) -> None:
        ada = await arrange_own.someone()
        (item,) = await arrange_own.items(ada)
        database: Database = own_app.state.resources.database
        async with database.transaction() as session:
            await session.execute(text("SELECT 1 FROM items FOR UPDATE"))
            change = asyncio.create_task(
                own_client.patch(f"{ITEMS}/{item.id}", headers=ada.headers, json={"title": "Lost"})
            )
            await somebody_waits(own_database_url)
            execute(own_database_url, f"{END_ALL_OTHERS} AND wait_event_type = 'Lock'")
            response = await change
        after = await own_client.get(f"{ITEMS}/{item.id}", headers=ada.headers)

        assert_unavailable(response)
        assert after.json()["version"] == 1


class TestTimeLimits:
    async def test_end_a_statement_that_takes_too_long(
        self,
        make_settings: Callable[..., Settings],
        own_database_url: str,
        password_hash: str,
    ) -> None:
        limits = {"statement_timeout": 0.1, "lock_timeout": 60}
        settings = make_settings(own_database_url, database=limits)
        async with running(settings, password_hash) as (app, client, ada):
            async with app.state.resources.database.transaction() as session:
                await session.execute(text("LOCK TABLE items IN ACCESS EXCLUSIVE MODE"))
                refused = await client.get(ITEMS, headers=ada.headers)
            answered = await client.get(ITEMS, headers=ada.headers)

        assert_unavailable(refused)
        assert answered.status_code == 200

    async def test_end_the_wait_for_a_lock(
        self,
        make_settings: Callable[..., Settings],
        own_database_url: str,
        password_hash: str,
    ) -> None:
        settings = make_settings(own_database_url, database={"lock_timeout": 0.1})
        async with running(settings, password_hash) as (app, client, ada):
            (item,) = await Arrange(lambda: app.state.resources, password_hash).items(ada)
            path = f"{ITEMS}/{item.id}"
            async with app.state.resources.database.transaction() as session:
                await session.execute(text("SELECT 1 FROM items FOR UPDATE"))
                refused = await client.delete(path, headers=ada.headers)
            answered = await client.delete(path, headers=ada.headers)

        assert_unavailable(refused)
        assert answered.status_code == 204


@asynccontextmanager
async def running(
    settings: Settings, password_hash: str
) -> AsyncIterator[tuple[FastAPI, httpx2.AsyncClient, Someone]]:
    """An application with somebody who may use it."""
    app = create_app(settings)
    async with app.router.lifespan_context(app), async_client_of(app) as client:
        resources: Resources = app.state.resources
        yield app, client, await Arrange(lambda: resources, password_hash).someone()


@contextmanager
def stopped(process: int) -> Iterator[None]:
    """Keep a process from doing anything."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


async def until_it_failed(client: httpx2.AsyncClient, someone: Someone) -> httpx2.Response:
    """Ask until there is something else than the answer; return that."""
    while (response := await ask(client, someone)).status_code == 200:
        pass
    return response


async def until_it_answers(client: httpx2.AsyncClient, someone: Someone) -> httpx2.Response:
    """Ask until the database is there; nothing but a proper 503 may come before."""
    while (response := await ask(client, someone)).status_code != 200:
        assert_unavailable(response)
    return response


async def ask(client: httpx2.AsyncClient, someone: Someone) -> httpx2.Response:
    return await client.get(ITEMS, headers=someone.headers)


async def somebody_waits(url: str) -> None:
    """Return when a connection to a database waits for a lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    async with asyncio.timeout(10):
        while await asyncio.to_thread(execute, url, waiting) == [0]:
            pass
