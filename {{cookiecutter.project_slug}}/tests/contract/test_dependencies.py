"""What FastAPI makes of the dependencies: each a seam, computed once for a request, closed after.

Each class names its rule by id.
"""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from starlette.requests import HTTPConnection
from starlette.testclient import TestClient

from app.api.deps.auth import get_authenticator
from app.api.deps.common import get_resources
from app.domain.auth import Principal
from app.infrastructure.database import Database
from app.resources import Resources
from app.services.auth import Authenticator
from tests.contract.audit.source import is_ours, needed, operations, source_of
from tests.support.arrange import Arrange, ArrangeSync
from tests.support.document import OPERATIONS, Operation

BY_ID = {operation.id: operation for operation in OPERATIONS}
SEAMS = {
    source_of(dependency).__name__: (dependency.call, BY_ID[str(operation.name)])
    for operation in operations()
    for dependency in needed(operation.dependant)
    if is_ours(dependency)
}
"""Every dependency that we have written, and an operation that depends on it."""


def replaced() -> None:
    raise RuntimeError("It was replaced.")


class TestOverrides:
    """DI07."""

    def test_are_known_for_every_service(self) -> None:
        assert SEAMS.keys() >= {
            "get_session",
            "get_principal",
            "get_item_repository",
            "get_item_service",
        }

    @pytest.mark.parametrize("seam", SEAMS)
    def test_replace_every_dependency(
        self, client: TestClient, app: FastAPI, arrange: ArrangeSync, seam: str
    ) -> None:
        dependency, operation = SEAMS[seam]
        assert dependency is not None
        headers = arrange.someone(role="admin").headers
        app.dependency_overrides[dependency] = replaced

        # A 500 is the one error that every operation documents.
        assert client.request(**operation.request(), headers=headers).status_code == 500
        del app.dependency_overrides[dependency]
        assert client.request(**operation.request(), headers=headers).status_code != 500

    @pytest.mark.parametrize("time", ["first", "second"])
    def test_are_put_back_after_each_test(self, app: FastAPI, time: str) -> None:
        assert app.dependency_overrides == {}
        app.dependency_overrides[get_resources] = replaced


class TestOncePerRequest:
    """DI08."""

    @pytest.fixture
    def operation(self) -> Operation:
        return BY_ID["change_profile"]

    @pytest.fixture
    def send(
        self, client: TestClient, arrange: ArrangeSync, operation: Operation
    ) -> Callable[[], int]:
        headers = arrange.someone().headers

        def send() -> int:
            status: int = client.request(**operation.request(), headers=headers).status_code
            return status

        return send

    def test_finds_the_resources(self, app: FastAPI, send: Callable[[], int]) -> None:
        found: list[Resources] = []

        def find(connection: HTTPConnection) -> Resources:
            found.append(connection.app.state.resources)
            return found[-1]

        app.dependency_overrides[get_resources] = find

        assert send() == 200
        assert len(found) == 1

    def test_asks_once_who_it_is(self, app: FastAPI, send: Callable[[], int]) -> None:
        asked: list[str] = []

        class Counting:
            async def authenticate(self, bearer: str) -> Principal:
                asked.append(bearer)
                resources = app.state.resources
                authenticator = Authenticator(resources.database, resources.tokens)
                return await authenticator.authenticate(bearer)

        app.dependency_overrides[get_authenticator] = Counting

        assert send() == 200
        assert len(asked) == 1

    def test_opens_one_session(
        self, app: FastAPI, send: Callable[[], int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened: list[object] = []
        transaction = Database.transaction

        def open_one(database: Database) -> Any:
            opened.append(database)
            return transaction(database)

        monkeypatch.setattr(Database, "transaction", open_one)

        assert send() == 200
        assert len(opened) == 1


class TestClosing:
    """DI03."""

    @pytest.mark.parametrize(
        "operation_id", ["list_items", "get_item", "create_item", "change_item", "export_items"]
    )
    async def test_leaves_no_connection_behind(
        self,
        own_client: httpx2.AsyncClient,
        own_app: FastAPI,
        arrange_own: Arrange,
        operation_id: str,
    ) -> None:
        someone = await arrange_own.someone()
        resources: Resources = own_app.state.resources

        await own_client.request(**BY_ID[operation_id].request(), headers=someone.headers)

        assert resources.database.engine.pool.status().endswith(
            "Current Checked out connections: 0"
        )
