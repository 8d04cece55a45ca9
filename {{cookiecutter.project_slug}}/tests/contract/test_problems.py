"""Each documented error status occurs, as a problem (RFC 9457).

What is particular to one operation, such as a 409, is tested with that operation. Nothing here
names an operation: one that is added is tested, too.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Never

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.api.deps.auth import get_principal
from app.config import Settings
from app.core.config import RateLimitSettings
from app.core.idempotency import IdempotencyKeyInUse
from app.core.ports import HealthCheck
from app.domain.permissions import ROLES
from app.infrastructure.database import Database
from app.infrastructure.idempotency import IdempotencyKeys
from app.infrastructure.limits import RateLimiter
from tests.support.arrange import ArrangeSync, gone
from tests.support.document import OPERATIONS, PROBLEM, Json, Operation, documenting, faults
from tests.support.models import open_database

SECRET = "database://app:hunter2@database"
METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"}
URLS = {operation.path: operation.request()["url"] for operation in OPERATIONS}
SECURED = [operation for operation in OPERATIONS if operation.scopes]
RECENT = [
    operation
    for operation in SECURED
    if "insufficient_user_authentication" in operation.responses[401]["description"]
]


class Broken:
    """A resource that fails on any use."""

    def __getattr__(self, name: str) -> Never:
        raise RuntimeError(SECRET)

    def __iter__(self) -> Never:
        raise RuntimeError(SECRET)

    def __call__(self, *args: Any, **kwargs: Any) -> Never:
        raise RuntimeError(SECRET)


@pytest.fixture
def headers(arrange: ArrangeSync) -> dict[str, str]:
    """Credentials with all permissions."""
    return arrange.account(role="admin").headers


@pytest.fixture
def absent_database(
    client: TestClient, make_settings: Callable[..., Settings], no_database_url: str
) -> Iterator[Database]:
    """A database that can't be reached."""
    assert client.portal is not None
    settings = make_settings(no_database_url)
    with client.portal.wrap_async_context_manager(open_database(settings)) as database:
        yield database


def require_problem(response: Any, status: int, operation: Operation | None = None) -> Json:
    """Return the body of a response, and check that it is a complete problem."""
    assert response.status_code == status
    assert response.headers["Content-Type"] == PROBLEM
    body: Json = response.json()
    assert faults({"$ref": "#/components/schemas/Problem"}, body) == []
    assert body["status"] == status
    assert body["type"] == f"urn:problem:{body['code']}"
    assert body["instance"] == response.request.url.path
    assert body["request_id"] == response.headers["X-Request-ID"]
    assert "hunter2" not in response.text
    assert "Traceback" not in response.text
    if operation is not None:
        documented = operation.responses[status]
        assert body["code"] in documented["content"][PROBLEM]["examples"]
        assert operation.faults(status, PROBLEM, body) == []
        required = [
            name for name, each in documented.get("headers", {}).items() if each["required"]
        ]
        assert [name for name in required if name not in response.headers] == []
    return body


class TestBadRequest:
    @pytest.mark.parametrize("operation", documenting(400), ids=str)
    def test_answers_an_unreadable_body(
        self, client: TestClient, headers: dict[str, str], operation: Operation
    ) -> None:
        is_json = "json" in operation.request()
        media_type = "application/json" if is_json else "multipart/form-data"
        response = client.request(
            **bodiless(operation), content='{"', headers={**headers, "Content-Type": media_type}
        )
        require_problem(response, 400, operation)


class TestUnauthorized:
    @pytest.mark.parametrize("operation", SECURED, ids=str)
    def test_answers_a_request_without_credentials(
        self, client: TestClient, operation: Operation
    ) -> None:
        response = client.request(**operation.request())
        assert require_problem(response, 401, operation)["code"] == "unauthenticated"
        assert response.headers["WWW-Authenticate"] == "Bearer"

    @pytest.mark.parametrize("operation", SECURED, ids=str)
    def test_answers_a_forged_token(self, client: TestClient, operation: Operation) -> None:
        forged = {"Authorization": "Bearer eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0dXJl"}
        response = client.request(**operation.request(), headers=forged)
        assert require_problem(response, 401, operation)["code"] == "invalid_token"
        assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]

    @pytest.mark.parametrize("operation", RECENT, ids=str)
    def test_answers_a_login_too_long_ago(
        self, client: TestClient, arrange: ArrangeSync, operation: Operation
    ) -> None:
        user = arrange.account(role="admin", logged_in=timedelta(seconds=301))
        response = client.request(**operation.request(), headers=user.headers)
        code = "insufficient_user_authentication"
        assert require_problem(response, 401, operation)["code"] == code
        assert response.headers["WWW-Authenticate"] == (
            f'Bearer error="{code}", error_description="More recent authentication required",'
            " max_age=300"
        )

    @pytest.mark.parametrize(
        "operation", [each for each in documenting(401) if not each.scopes], ids=str
    )
    def test_answers_unknown_credentials(self, client: TestClient, operation: Operation) -> None:
        require_problem(client.request(**operation.request()), 401, operation)


class TestForbidden:
    @pytest.mark.parametrize("operation", SECURED, ids=str)
    def test_answers_a_token_that_lacks_any_of_the_permissions(
        self, client: TestClient, arrange: ArrangeSync, operation: Operation
    ) -> None:
        for scope in sorted(operation.scopes):
            user = arrange.account(role="admin", permissions=ROLES["admin"] - {scope})
            response = client.request(**operation.request(), headers=user.headers)
            assert require_problem(response, 403, operation)["code"] == "insufficient_scope"
            _, _, needed = response.headers["WWW-Authenticate"].partition("scope=")
            assert set(needed.strip('"').split()) == operation.scopes


class TestNotFound:
    @pytest.mark.parametrize("path", ["/", "/nothing", "/api", "/api/v1/nothing", "/api/v1/users/"])
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_answers_an_unknown_path(self, client: TestClient, method: str, path: str) -> None:
        assert require_problem(client.request(method, path), 404)["code"] == "path_not_found"

    @pytest.mark.parametrize(
        "operation", [each for each in documenting(404) if "{" in each.path], ids=str
    )
    def test_answers_an_unknown_id(
        self, client: TestClient, headers: dict[str, str], operation: Operation
    ) -> None:
        response = client.request(**operation.request(), headers=headers)
        require_problem(response, 404, operation)

    @pytest.mark.parametrize(
        "operation", [each for each in documenting(404) if "{" not in each.path], ids=str
    )
    def test_answers_a_user_who_was_deleted_meanwhile(
        self, client: TestClient, app: FastAPI, operation: Operation
    ) -> None:
        app.dependency_overrides[get_principal] = gone
        require_problem(client.request(**operation.request()), 404, operation)


class TestMethodNotAllowed:
    @pytest.mark.parametrize("path", URLS)
    def test_answers_a_method_that_is_not_declared(
        self, client: TestClient, headers: dict[str, str], path: str
    ) -> None:
        declared = {each.method.upper() for each in OPERATIONS if each.path == path}
        for method in sorted(METHODS - declared):
            response = client.request(method, URLS[path], headers=headers)
            assert require_problem(response, 405)["code"] == "method_not_allowed"
            allowed = set(response.headers["Allow"].split(", "))
            assert declared <= allowed <= declared | {"HEAD"}


class TestConflict:
    def test_answers_an_idempotency_key_in_use(
        self, client: TestClient, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def in_use(*_: object) -> Never:
            raise IdempotencyKeyInUse

        monkeypatch.setattr(IdempotencyKeys, "claim", in_use)
        headers["Idempotency-Key"] = "a-key"
        for operation in OPERATIONS:
            if "Idempotency-Key" in {each["name"] for each in operation.parameters}:
                response = client.request(**operation.request(), headers=headers)
                assert require_problem(response, 409, operation)["code"] == "idempotency_key_in_use"


class TestContentTooLarge:
    @pytest.mark.parametrize("operation", documenting(413), ids=str)
    def test_answers_a_body_that_is_too_large(
        self, client: TestClient, settings: Settings, operation: Operation
    ) -> None:
        content = b" " * (settings.http.max_body_bytes + 1)
        response = client.request(**bodiless(operation), content=content)
        require_problem(response, 413, operation)


class TestUnsupportedMediaType:
    @pytest.mark.parametrize("operation", [each for each in documenting(415) if each.body], ids=str)
    def test_answers_a_body_of_another_type(
        self, client: TestClient, headers: dict[str, str], operation: Operation
    ) -> None:
        response = client.request(
            **bodiless(operation), content="{}", headers={**headers, "Content-Type": "text/plain"}
        )
        problem = require_problem(response, 415, operation)
        assert problem["code"] == "unsupported_media_type"


class TestUnprocessable:
    @pytest.mark.parametrize("operation", documenting(422), ids=str)
    def test_answers_a_request_that_violates_the_document(
        self, client: TestClient, headers: dict[str, str], operation: Operation
    ) -> None:
        response = client.request(**invalid(operation), headers=headers)
        problem = require_problem(response, 422, operation)
        fields = {error["field"].rpartition(".")[2] for error in problem["errors"]}
        assert fields
        if operation.id.startswith("list_") or "json" in operation.request():
            assert "no_such_field" in fields
        assert "hunter2" not in response.text


class TestTooManyRequests:
    @pytest.mark.parametrize("operation", documenting(429), ids=str)
    def test_answers_too_many_requests(
        self, client: TestClient, use: Callable[..., None], operation: Operation
    ) -> None:
        limits = RateLimitSettings(general_address="1/day", auth_address="1/day")
        use(rate_limiter=RateLimiter(limits))
        client.request(**operation.request())
        response = client.request(**operation.request())
        problem = require_problem(response, 429, operation)
        assert problem["code"] == "too_many_requests"
        assert 1 <= int(response.headers["Retry-After"]) <= 2 * 86_400
        assert ";r=0;t=" in response.headers["RateLimit"]
        assert ";q=1;w=86400" in response.headers["RateLimit-Policy"]


class TestInternalError:
    @pytest.mark.parametrize(
        "operation", [each for each in OPERATIONS if each.path.startswith("/api/")], ids=str
    )
    def test_answers_an_unexpected_failure(
        self, client: TestClient, use: Callable[..., None], operation: Operation
    ) -> None:
        use(rate_limiter=Broken())
        require_problem(client.request(**operation.request()), 500, operation)

    @pytest.mark.parametrize(
        "operation", [each for each in OPERATIONS if not each.path.startswith("/api/")], ids=str
    )
    def test_answers_a_failure_of_probes_and_keys(
        self,
        client: TestClient,
        use: Callable[..., None],
        monkeypatch: pytest.MonkeyPatch,
        operation: Operation,
    ) -> None:
        use(health_checks=Broken(), keys=Broken())
        # These two stand on nothing that could fail.
        monkeypatch.setattr("app.infrastructure.http.health.Health", Broken())
        monkeypatch.setattr("app.infrastructure.http.health.Liveness", Broken())
        require_problem(client.request(**operation.request()), 500, operation)


class TestUnavailable:
    @pytest.mark.parametrize("operation", documenting(503), ids=str)
    def test_answers_while_the_database_is_away(
        self,
        client: TestClient,
        headers: dict[str, str],
        use: Callable[..., None],
        absent_database: Database,
        operation: Operation,
    ) -> None:
        ping = HealthCheck("database", absent_database.ping, required=True)
        use(database=absent_database, health_checks=(ping,))
        response = client.request(**operation.request(), headers=headers)
        require_problem(response, 503, operation)
        assert "127.0.0.1" not in response.text
        assert int(response.headers["Retry-After"]) >= 1


class TestEveryStatus:
    def test_of_the_generic_ones_is_among_those_above(self) -> None:
        particular = {409, 412, 416}
        generic = {400, 401, 403, 404, 413, 415, 422, 429, 500, 503}
        documented = {status for each in OPERATIONS for status in each.responses if status >= 400}
        assert generic <= documented <= generic | particular


def bodiless(operation: Operation) -> Json:
    """Return the request of the document without its body."""
    bodies = {"json", "data", "files"}
    return {name: each for name, each in operation.request().items() if name not in bodies}


def invalid(operation: Operation) -> Json:
    """A request that violates one constraint of the document."""
    unknown = {"no_such_field": "hunter2"}
    request = operation.request(
        **{each["name"]: "not-a-uuid" for each in operation.parameters if each["in"] == "path"}
    )
    if "json" in request:
        return {**request, "json": {**request["json"], **unknown}}
    if "data" in request:
        return {**request, "data": {**request["data"], **unknown}}
    if "files" in request:
        return {**request, "data": unknown}
    return {**request, "params": unknown}
