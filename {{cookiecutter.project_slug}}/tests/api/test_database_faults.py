"""Database errors as clients see them: without messages of the database (rule DB09)."""

from collections.abc import Callable

import httpx2
from fastapi import FastAPI
from sqlalchemy import text

from app.config import Settings
from app.main import create_app
from app.resources import Resources
from tests.conftest import async_client_of
from tests.support.arrange import Arrange

ME = "/api/v1/users/me"
ACCOUNT = {
    "email": "ada@example.com",
    "username": "ada",
    "password": "Analytical1Engine",
    "full_name": "Ada Lovelace",
}


class TestExhaustedPool:
    async def test_does_not_affect_readiness(
        self, make_settings: Callable[..., Settings], own_database_url: str
    ) -> None:
        app = create_app(make_settings(own_database_url, database={"pool_size": 1}))
        async with (
            app.router.lifespan_context(app),
            async_client_of(app) as client,
            app.state.resources.database.read(),
        ):
            ready = await client.get("/ready")

        assert ready.status_code == 200
        statuses = {each["name"]: each["status"] for each in ready.json()["checks"]}
        assert statuses["database"] == statuses["database_writes"] == "up"


class TestUnknownConstraint:
    async def test_is_a_conflict_without_database_details(
        self, own_app: FastAPI, own_client: httpx2.AsyncClient
    ) -> None:
        resources: Resources = own_app.state.resources
        async with resources.database.transaction() as session:
            await session.execute(text("CREATE UNIQUE INDEX one_of_a_kind ON users (full_name)"))
        await own_client.post("/api/v1/users", json=ACCOUNT)
        namesake = {**ACCOUNT, "email": "a@example.com", "username": "namesake"}

        response = await own_client.post("/api/v1/users", json=namesake)

        assert response.status_code == 409
        problem = response.json()
        assert problem["code"] == "conflict"
        assert problem["detail"] == "Conflict."
        assert "one_of_a_kind" not in response.text
        assert "Lovelace" not in response.text


class TestBrokenStatement:
    async def test_is_a_500_without_details(
        self, own_app: FastAPI, own_client: httpx2.AsyncClient, arrange_own: Arrange
    ) -> None:
        ada = await arrange_own.account()
        resources: Resources = own_app.state.resources
        async with resources.database.transaction() as session:
            await session.execute(text("ALTER TABLE users RENAME COLUMN full_name TO gone"))

        response = await own_client.get(ME, headers=ada.headers)

        assert response.status_code == 500
        problem = response.json()
        assert problem["code"] == "internal_error"
        assert "SELECT" not in response.text
        assert "relation" not in response.text
        assert "table" not in response.text
