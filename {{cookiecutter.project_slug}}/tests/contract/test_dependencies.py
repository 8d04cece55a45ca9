"""Dependencies of the operations: each can be replaced, and is resolved once per request."""

from typing import Any

import pytest
from fastapi import FastAPI
from starlette.requests import HTTPConnection
from starlette.testclient import TestClient

from app.api.deps.common import get_resources
from app.domain.auth import Principal
from app.infrastructure.database import Database
from app.resources import Resources
from app.services.auth import Authenticator
from tests.contract.audit.source import is_ours, needed, operations, source_of
from tests.support.arrange import ArrangeSync
from tests.support.document import OPERATIONS

BY_ID = {operation.id: operation for operation in OPERATIONS}
DEPENDENCIES = {
    source_of(dependency).__name__: (dependency.call, BY_ID[str(operation.name)])
    for operation in operations()
    for dependency in needed(operation.dependant)
    if is_ours(dependency)
}
"""Every dependency of ours, and an operation that depends on it."""


def replaced() -> None:
    raise RuntimeError("It was replaced.")


class TestOverrides:
    """DI07."""

    def test_are_known_for_every_service(self) -> None:
        names = {"get_session", "get_principal", "get_user_repository", "get_user_service"}
        assert DEPENDENCIES.keys() >= names

    @pytest.mark.parametrize("name", DEPENDENCIES)
    def test_replace_every_dependency(
        self, client: TestClient, app: FastAPI, arrange: ArrangeSync, name: str
    ) -> None:
        dependency, operation = DEPENDENCIES[name]
        assert dependency is not None
        headers = arrange.account(role="admin").headers
        app.dependency_overrides[dependency] = replaced

        # A 500 is the one error that every operation documents.
        assert client.request(**operation.request(), headers=headers).status_code == 500
        del app.dependency_overrides[dependency]
        assert client.request(**operation.request(), headers=headers).status_code != 500

    @pytest.mark.parametrize("time", ["first", "second"])
    def test_are_put_back_after_each_test(self, app: FastAPI, time: str) -> None:
        assert app.dependency_overrides == {}
        app.dependency_overrides[get_resources] = replaced


def test_resources_principal_and_session_are_resolved_once(
    client: TestClient, app: FastAPI, arrange: ArrangeSync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DI08."""
    headers = arrange.account().headers
    resolved: list[str] = []
    authenticate, transaction = Authenticator.authenticate, Database.transaction

    def find(connection: HTTPConnection) -> Resources:
        resolved.append("resources")
        resources: Resources = connection.app.state.resources
        return resources

    async def authenticate_one(authenticator: Authenticator, bearer: str) -> Principal:
        resolved.append("principal")
        return await authenticate(authenticator, bearer)

    def open_one(database: Database) -> Any:
        resolved.append("session")
        return transaction(database)

    app.dependency_overrides[get_resources] = find
    monkeypatch.setattr(Authenticator, "authenticate", authenticate_one)
    monkeypatch.setattr(Database, "transaction", open_one)

    response = client.request(**BY_ID["change_profile"].request(), headers=headers)

    assert response.status_code == 200
    assert sorted(resolved) == ["principal", "resources", "session"]
