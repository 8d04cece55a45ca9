"""No account takes the service from the others: whatever it holds at once has a limit."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from itertools import islice

import pytest
from fastapi import FastAPI
from sqlalchemy import update

from app import models
from app.config import Settings
from app.main import create_app
from tests.api.test_streaming import exporting, owner_of_things, store_things
from tests.conftest import async_client_of
from tests.support.arrange import Arrange
from tests.support.serving import served
from tests.support.things import EXPORT, with_things
from tests.support.waiting import eventually

ME = "/api/v1/users/me"


@pytest.fixture
async def app(
    make_settings: Callable[..., Settings], own_database_url: str
) -> AsyncIterator[FastAPI]:
    """An application that gives half of its connections to an account."""
    limits = {"concurrent_requests": None, "concurrent_transfers": 1}
    database = {"pool_size": 9}
    settings = make_settings(own_database_url, database=database, rate_limits=limits)
    app = with_things(create_app(settings))
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
def arrange(app: FastAPI, password_hash: str) -> Arrange:
    return Arrange(lambda: app.state.resources, password_hash)


class TestRequests:
    async def test_of_one_account_leave_connections_to_others(
        self, app: FastAPI, arrange: Arrange
    ) -> None:
        ada, bob = await arrange.someone(), await arrange.someone()
        lock = update(models.User).where(models.User.id == ada.id).values(full_name="Locked")
        change = {"full_name": "Ada"}
        async with async_client_of(app) as client:
            async with app.state.resources.database.transaction() as session:
                await session.execute(lock)
                changes = [
                    asyncio.create_task(client.patch(ME, headers=ada.headers, json=change))
                    for _ in range(20)
                ]
                refused, *_ = [await each for each in islice(asyncio.as_completed(changes), 16)]
                others = await client.get(ME, headers=bob.headers)
            statuses = sorted([(await each).status_code for each in changes])

        assert others.status_code == 200
        assert statuses == [200] * 4 + [429] * 16
        assert refused.json()["code"] == "too_many_concurrent_requests"
        assert refused.headers["Retry-After"] == "1"

    @pytest.mark.parametrize("path", [ME, "/api/v1/items/no-id", EXPORT])
    async def test_count_until_they_end_however_they_do(
        self, app: FastAPI, arrange: Arrange, path: str
    ) -> None:
        ada = await owner_of_things(app, arrange, 1)
        async with async_client_of(app) as client:
            statuses = {(await client.get(path, headers=ada.headers)).status_code for _ in range(6)}

        assert statuses in ({200}, {422})


class TestExports:
    async def test_of_one_account_leave_snapshots_to_others_until_its_client_is_gone(
        self, app: FastAPI, arrange: Arrange
    ) -> None:
        ada, bob = await owner_of_things(app, arrange, 4000), await arrange.someone()
        await store_things(app, bob, 1)
        async with served(app) as client:
            async with AsyncExitStack() as unread:
                await unread.enter_async_context(exporting(client, ada))
                refused = await client.get(EXPORT, headers=ada.headers)
                others = await client.get(EXPORT, headers=bob.headers)

            async def is_free() -> bool:
                response = await client.get(EXPORT, headers=ada.headers)
                return response.status_code == 200

            await eventually(is_free, "the export is free again")

        assert refused.json()["code"] == "too_many_concurrent_requests"
        assert others.status_code == 200
