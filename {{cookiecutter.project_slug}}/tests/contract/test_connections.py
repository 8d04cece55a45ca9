"""No request holds two connections: if all wait for a second one, the pool deadlocks."""

from collections.abc import AsyncIterator, Callable

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import delete
from structlog.testing import capture_logs

from app.config import Settings
from app.core.ids import new_id
from app.domain.permissions import DELEGABLE
from app.main import create_app
from app.models import Base
from app.resources import open_resources
from app.tasks import TASKS
from tests.conftest import async_client_of
from tests.support.arrange import Account, Arrange, bearer
from tests.support.document import OPERATIONS, Json, Operation, ids_in, referred

UNKNOWN = frozenset({"file_id", "job_id"})
"""Ids of objects that are more than a row."""


@pytest.fixture
async def app(
    make_settings: Callable[..., Settings], own_database_url: str
) -> AsyncIterator[FastAPI]:
    """An application with one connection and a short wait for it."""
    settings = make_settings(
        own_database_url,
        database={"pool_size": 1, "max_overflow": 0, "pool_timeout": 1},
        rate_limits={"enabled": False},
    )
    app = create_app(settings)
    async with open_resources(settings, TASKS) as app.state.resources:
        yield app


@pytest.fixture
async def own_client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    async with async_client_of(app) as client:
        yield client


@pytest.fixture
def arrange(app: FastAPI, password_hash: str) -> Arrange:
    return Arrange(lambda: app.state.resources, password_hash)


async def request_of(operation: Operation, owner: Account, arrange: Arrange) -> Json:
    """Return a request that the operation accepts."""
    other, rows = await arrange.account(), await arrange.a_row_of_each_table(owner)
    ids = referred(operation.path, rows) | ids_in(operation.path, rows) | {"user_id": str(other.id)}
    request = operation.request(**ids)
    name = f"{operation.path}///".split("/")[3].replace("-", "_")
    if name in Base.metadata.tables and name != "users":
        # Values of other rows may be unique.
        table = Base.metadata.tables[name]
        is_kept = operation.method != "post" or any(
            key.column.table is table for key in table.foreign_keys
        )
        wanted = rows[name]["id"] if is_kept else None
        await arrange.execute(delete(table).where(table.c.id.is_distinct_from(wanted)))
    own: dict[str, Json] = {
        "log_in": {"data": {"username": owner.username, "password": owner.password}},
        "register_user": {
            "json": request.get("json", {}) | {"email": f"{new_id().hex}@example.com"}
        },
        "refresh_tokens": {"json": {"refresh_token": owner.refresh_token}},
        "log_out": {"json": {"refresh_token": owner.refresh_token}},
    }
    return request | own.get(operation.id, {})


@pytest.mark.parametrize("by_key", [False, True], ids=["by token", "by API key"])
async def test_every_operation_needs_only_one(
    own_client: httpx2.AsyncClient, app: FastAPI, arrange: Arrange, by_key: bool
) -> None:
    statuses = {}
    for operation in OPERATIONS:
        owner = await arrange.account(role="admin")
        headers = bearer(await arrange.api_key(owner, DELEGABLE)) if by_key else owner.headers
        if any(each["name"] == "Idempotency-Key" for each in operation.parameters):
            headers = headers | {"Idempotency-Key": new_id().hex}
        request = await request_of(operation, owner, arrange)
        response = await own_client.request(**request, headers=headers)
        statuses[operation.id] = response.status_code
        assert response.status_code < 500, (operation.id, response.text)
        assert app.state.resources.database.engine.pool.checkedout() == 0

    if not by_key:  # keys lack the permissions that concern the account
        refused = {name for name, status in statuses.items() if status >= 400}
        assert refused <= {
            each.id for each in OPERATIONS if UNKNOWN & {name["name"] for name in each.parameters}
        }


@pytest.mark.parametrize(
    ("operation_id", "statements"),
    [("get_liveness", 0), ("get_profile", 1), ("list_users", 2), ("log_in", 5)],
)
async def test_an_operation_sends_few_statements(
    own_client: httpx2.AsyncClient, arrange: Arrange, operation_id: str, statements: int
) -> None:
    """DB10: the log line of a request has their number."""
    (operation,) = [each for each in OPERATIONS if each.id == operation_id]
    owner = await arrange.account(role="admin")
    request = await request_of(operation, owner, arrange)
    await own_client.request(**request, headers=owner.headers)  # makes the network known
    with capture_logs() as logs:
        await own_client.request(**request, headers=owner.headers)

    (line,) = [each for each in logs if each["event"] == "request"]
    # A driver may be sent a BEGIN as a statement of its own.
    assert line.get("statements", 0) in {statements, statements + (operation.method == "post")}
