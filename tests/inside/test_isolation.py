"""TST03: each test has the database to itself, in any order.

Every test here stores the same unique address. What another had left would be a conflict.
"""

import httpx2
import pytest
from app import models
from sqlalchemy import select
from starlette.testclient import TestClient
from tests.support.arrange import Arrange, ArrangeSync

ADDRESS = "ada@example.com"
NEW_ACCOUNT = {"email": ADDRESS, "username": "ada", "password": "Analytical1Engine"}
ADDRESSES = select(models.User.email)


@pytest.mark.parametrize("time", ["first", "second"])
def test_keeps_nothing_that_a_plain_test_arranged(arrange: ArrangeSync, time: str) -> None:
    arrange.account(email=ADDRESS)
    assert [row.email for row in arrange.rows(ADDRESSES)] == [ADDRESS]


@pytest.mark.parametrize("time", ["first", "second"])
def test_keeps_nothing_that_a_request_committed(
    client: TestClient, arrange: ArrangeSync, time: str
) -> None:
    assert client.post("/api/v1/users", json=NEW_ACCOUNT).status_code == 201
    assert [row.email for row in arrange.rows(ADDRESSES)] == [ADDRESS]


@pytest.mark.parametrize("time", ["first", "second"])
async def test_keeps_nothing_that_an_asynchronous_test_did(
    async_client: httpx2.AsyncClient, arrange_async: Arrange, time: str
) -> None:
    response = await async_client.post("/api/v1/users", json=NEW_ACCOUNT)
    assert response.status_code == 201
    assert [row.email for row in await arrange_async.rows(ADDRESSES)] == [ADDRESS]


@pytest.mark.parametrize("time", ["first", "second"])
async def test_keeps_nothing_in_a_database_of_its_own(
    own_client: httpx2.AsyncClient, arrange_own: Arrange, time: str
) -> None:
    response = await own_client.post("/api/v1/users", json=NEW_ACCOUNT)
    assert response.status_code == 201
    assert [row.email for row in await arrange_own.rows(ADDRESSES)] == [ADDRESS]
