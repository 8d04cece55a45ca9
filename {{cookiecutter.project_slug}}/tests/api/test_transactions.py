"""One request, one transaction: commit, rollback and actions after the commit (rule DB04)."""

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx2
import pytest
from fastapi import FastAPI, HTTPException
from sqlalchemy import Connection, event, select, text

from app import models
from app.api.deps.common import SessionDep
from app.config import Settings
from app.core.ids import new_id
from app.domain.notifications import SendMail
from app.domain.users import UserId, UserNotFound
from app.infrastructure.outbox import Outbox
from app.main import create_app
from app.resources import open_resources
from app.tasks import TASKS
from tests.conftest import async_client_of
from tests.support.arrange import Account, Arrange
from tests.support.factories import UserFactory

NEW_PASSWORD = "Difference2Engine"
ACCOUNT = {"email": "grace@example.com", "username": "grace", "password": NEW_PASSWORD}
JOB = SendMail("password_changed", UserId(new_id()))


class Unforeseen(Exception):
    """An error without a handler."""


@pytest.fixture
async def own(
    make_settings: Callable[..., Settings], own_database_url: str
) -> AsyncIterator[FastAPI]:
    """An application like `own_app`, with routes of these tests."""
    settings = make_settings(own_database_url, rate_limits={"enabled": False})
    app = create_app(settings)
    async with open_resources(settings, TASKS) as app.state.resources:
        yield app


@pytest.fixture
async def caller(own: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    async with async_client_of(own) as client:
        yield client


@pytest.fixture
def arranged(own: FastAPI, password_hash: str) -> Arrange:
    return Arrange(lambda: own.state.resources, password_hash)


@pytest.fixture
async def ada(arranged: Arrange) -> Account:
    return await arranged.account()


@pytest.fixture
async def doomed(own: FastAPI, ada: Account) -> None:
    """Every commit of the application fails because it violates a deferred constraint."""
    database = own.state.resources.database
    async with database.transaction() as session:
        await session.execute(text("CREATE TABLE nobody (id INTEGER PRIMARY KEY)"))
        await session.execute(
            text(
                "CREATE TABLE doomed"
                " (id INTEGER REFERENCES nobody (id) DEFERRABLE INITIALLY DEFERRED)"
            )
        )

    def violate(connection: Connection) -> None:
        connection.exec_driver_sql("INSERT INTO doomed VALUES (1)")

    event.listen(database.engine.sync_engine, "commit", violate)


class TestCommit:
    @pytest.mark.usefixtures("doomed")
    async def test_returns_an_error_if_it_fails(
        self, caller: httpx2.AsyncClient, arranged: Arrange, ada: Account
    ) -> None:
        response = await caller.post("/api/v1/users", json=ACCOUNT)

        assert response.status_code == 409
        assert response.json()["code"] == "conflict"
        assert "Location" not in response.headers
        assert await arranged.rows(select(models.User.id)) == [(ada.id,)]

    @pytest.mark.usefixtures("doomed")
    async def test_starts_no_job_when_it_fails(
        self, caller: httpx2.AsyncClient, arranged: Arrange, ada: Account
    ) -> None:
        response = await change_password(caller, ada)

        assert response.status_code == 409
        assert await arranged.rows(select(models.OutboxMessage.id)) == []

    async def test_returns_its_connection_before_its_actions(
        self, own: FastAPI, ada: Account
    ) -> None:
        database = own.state.resources.database
        busy: list[int] = []

        async def look() -> None:
            busy.append(database.engine.pool.checkedout())

        async with database.transaction() as session:
            await session.execute(text("SELECT 1"))
            await look()
            session.after_commit(look)

        assert busy == [1, 0]

    async def test_precedes_the_response(
        self, caller: httpx2.AsyncClient, arranged: Arrange
    ) -> None:
        response = await caller.post("/api/v1/users", json=ACCOUNT)

        assert response.status_code == 201
        assert await arranged.rows(select(models.User.username)) == [(ACCOUNT["username"],)]


class TestRollback:
    @pytest.mark.parametrize(
        ("error", "status"),
        [
            pytest.param(UserNotFound(), 404, id="domain error"),
            pytest.param(HTTPException(418), 418, id="error of the framework"),
            pytest.param(Unforeseen(), 500, id="error that nobody foresaw"),
        ],
    )
    async def test_discards_a_failed_request(
        self,
        own: FastAPI,
        caller: httpx2.AsyncClient,
        arranged: Arrange,
        error: Exception,
        status: int,
    ) -> None:
        user, relay = UserFactory.build(), own.state.resources.relay

        @own.post("/fails")
        async def fails(session: SessionDep) -> None:
            session.add(user)
            await session.flush()
            await Outbox(session, relay.wake).enqueue(JOB)
            raise error

        response = await caller.post("/fails")

        assert response.status_code == status
        assert await arranged.rows(select(models.User.id)) == []
        assert await arranged.rows(select(models.OutboxMessage.id)) == []

    async def test_drops_actions_after_the_commit(self, own: FastAPI) -> None:
        database = own.state.resources.database
        actions: list[str] = []

        async def act() -> None:
            actions.append("done")

        async def ask_and_fail() -> None:
            async with database.transaction() as session:
                session.after_commit(act)
                raise UserNotFound

        with pytest.raises(UserNotFound):
            await ask_and_fail()
        async with database.transaction() as session:
            await session.execute(text("SELECT 1"))

        assert actions == []

    async def test_discards_a_cancelled_request(self, own: FastAPI, arranged: Arrange) -> None:
        database = own.state.resources.database
        written = asyncio.Event()

        async def write_and_wait() -> None:
            async with database.transaction() as session:
                session.add(UserFactory.build())
                await session.flush()
                written.set()
                await asyncio.Event().wait()

        writing = asyncio.create_task(write_and_wait())
        await written.wait()
        writing.cancel()
        await asyncio.wait([writing])

        assert writing.cancelled()
        assert database.engine.pool.checkedout() == 0
        assert await arranged.rows(select(models.User.id)) == []


class TestSurvivesErrors:
    async def test_a_replayed_token_ends_its_session(
        self, caller: httpx2.AsyncClient, ada: Account
    ) -> None:
        token = {"refresh_token": ada.refresh_token}
        fresh = (await caller.post("/api/v1/auth/refresh", json=token)).json()

        replayed = await caller.post("/api/v1/auth/refresh", json=token)

        assert replayed.status_code == 401
        next_token = {"refresh_token": fresh["refresh_token"]}
        assert (await caller.post("/api/v1/auth/refresh", json=next_token)).status_code == 401
        assert (await caller.get("/api/v1/users/me", headers=ada.headers)).status_code == 401


async def change_password(client: httpx2.AsyncClient, account: Account) -> httpx2.Response:
    return await client.put(
        "/api/v1/users/me/password",
        headers=account.headers,
        json={"current_password": account.password, "new_password": NEW_PASSWORD},
    )
