"""Mapping of errors to problems (rules ERR01, ERR02, API11)."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from fastapi import Body, Depends, FastAPI, Security
from fastapi.security import HTTPBearer, OAuth2PasswordBearer
from httpx2 import ASGITransport, AsyncClient
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, EmailStr, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from structlog.testing import capture_logs
from structlog.typing import EventDict

from app.core.config import HttpSettings
from app.core.errors import (
    Conflict,
    DatabaseUnavailable,
    DomainError,
    FieldError,
    Forbidden,
    InsufficientScope,
    InvalidInput,
    InvalidToken,
    NotFound,
    PreconditionFailed,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from app.infrastructure.http.handlers import EarlyResponse, add_exception_handlers
from app.infrastructure.http.middleware import middleware
from app.infrastructure.http.openapi import DocumentedApi, operation_id
from app.infrastructure.http.problems import (
    MALFORMED,
    Problem,
    problem_response,
    problem_type,
    problems,
    raises,
)

SECRET = "hunter2-correct-horse"
JSON = {"Content-Type": "application/json"}
PROBLEM = "application/problem+json"


class OrderNotFound(NotFound):
    code = "order_not_found"
    title = "Order not found"


class NameTaken(Conflict):
    code = "name_taken"
    title = "Name taken"


class NumberTaken(Conflict):
    code = "number_taken"
    title = "Number taken"
    retry_after = 1


class TooManyOrders(TooManyRequests):
    code = "too_many_orders"
    title = "Too many orders"


class WithoutFamily(DomainError):
    code = "novelty"
    title = "Something new"


class Tool(BaseModel):
    kind: Literal["tool"]


class Toy(BaseModel):
    kind: Literal["toy"]


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=5)]
    owner: UUID
    mail: EmailStr
    count: int
    thing: Annotated[Tool | Toy, Field(discriminator="kind")]


class Answer(BaseModel):
    """An answer."""

    number: int


token = OAuth2PasswordBearer("/token", scheme_name="Token", auto_error=False)
key = HTTPBearer(scheme_name="Key", auto_error=False)


@raises(Unauthenticated)
async def get_user(
    by_token: Annotated[str | None, Depends(token)],
    by_key: Annotated[object, Depends(key)],
) -> str:
    """A dependency of a dependency."""
    return "somebody"


@raises(Unavailable, TooManyRequests)
async def get_database(user: Annotated[str, Security(get_user, scopes=["read"])]) -> str:
    return user


def build(*raised: Exception) -> FastAPI:
    app = DocumentedApi(
        middleware=middleware(HttpSettings()),
        generate_unique_id_function=operation_id,
        attainable_scopes={"Key": {"read"}},
    )
    add_exception_handlers(app)
    waiting = list(raised)

    @app.get("/raise")
    async def raise_it() -> None:
        raise waiting.pop()

    @app.get("/orders/{number}", responses=problems(NameTaken, NumberTaken))
    async def get_order(number: int, user: Annotated[str, Depends(get_database)]) -> Answer:
        return Answer(number=number)

    @app.put("/orders/{number}", responses=problems(TooManyOrders, Conflict))
    async def put_order(number: int, order: Order) -> Answer:
        return Answer(number=number)

    @app.delete("/orders/{number}", status_code=204)
    async def delete_order(
        number: int, user: Annotated[str, Security(get_user, scopes=["write"])]
    ) -> None: ...

    @app.get("/orders/latest")
    async def get_latest_order() -> int:
        return 7

    @app.post("/any")
    async def post_any(anything: Annotated[dict[str, object], Body()]) -> int:
        return len(anything)

    @app.get("/wrong", response_model=Answer)
    async def answer_wrongly() -> Any:
        return {"number": SECRET}

    @app.get("/hidden", include_in_schema=False)
    async def hidden() -> None: ...

    return app


def client(app: FastAPI) -> AsyncClient:
    transport = ASGITransport(app=app, raise_app_exceptions=False)
    return AsyncClient(transport=transport, base_url="http://api")


APP = build()


@pytest.fixture
async def api() -> AsyncIterator[AsyncClient]:
    async with client(APP) as opened:
        yield opened


@pytest.fixture(autouse=True)
def log() -> Iterator[list[EventDict]]:
    with capture_logs() as lines:
        yield lines


async def answer_to(error: Exception) -> Any:
    async with client(build(error)) as api:
        return await api.get("/raise", headers={"X-Request-ID": "abc"})


def status_and_code(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def descendants(error: type[DomainError]) -> Iterator[type[DomainError]]:
    for child in error.__subclasses__():
        if child.__module__.startswith("app."):
            yield child
            yield from descendants(child)


EVERY_ERROR = sorted(descendants(DomainError), key=lambda error: error.__name__)


class TestEveryError:
    def test_has_a_status(self) -> None:
        assert [error for error in EVERY_ERROR if problem_type(error).status == 500] == []

    def test_has_a_code_of_its_own(self) -> None:
        codes = [
            error.code
            for error in EVERY_ERROR
            if error.code != getattr(error.__base__, "code", None)
        ]
        assert len(codes) == len(set(codes))

    def test_has_an_example_that_validates(self) -> None:
        for error in EVERY_ERROR:
            problem = problem_type(error)
            content = problems(error)[problem.status]["content"][PROBLEM]
            shown = Problem.model_validate(content["examples"][problem.code]["value"])
            assert (shown.code, shown.status) == (problem.code, problem.status)
            assert bool(shown.errors) == (problem.status == 422)


class TestDomainError:
    async def test_becomes_a_problem(self) -> None:
        response = await answer_to(OrderNotFound("There is no order 7.", owner=SECRET))
        assert response.status_code == 404
        assert response.headers["content-type"] == PROBLEM
        assert response.json() == {
            "type": "urn:problem:order_not_found",
            "title": "Order not found",
            "status": 404,
            "detail": "There is no order 7.",
            "instance": "/raise",
            "code": "order_not_found",
            "request_id": "abc",
        }

    async def test_has_the_status_and_the_headers_of_its_family(self) -> None:
        invalid = f'error="invalid_token", error_description="{InvalidToken.title}"'
        lacking = 'error="insufficient_scope", scope="read write"'
        for error, status, headers in (
            (Unauthenticated(), 401, {"www-authenticate": "Bearer"}),
            (InvalidToken("Expired."), 401, {"www-authenticate": f"Bearer {invalid}"}),
            (Forbidden(), 403, {}),
            (
                InsufficientScope(("read", "write")),
                403,
                {"www-authenticate": f"Bearer {lacking}"},
            ),
            (Conflict(), 409, {}),
            (NumberTaken(), 409, {"retry-after": "1"}),
            (PreconditionFailed(2), 412, {}),
            (InvalidInput(FieldError("body.a", "no", "bad")), 422, {}),
            (TooManyRequests(17), 429, {"retry-after": "17"}),
            (DatabaseUnavailable(), 503, {"retry-after": "5"}),
        ):
            response = await answer_to(error)
            assert response.status_code == status
            Problem.model_validate(response.json(), strict=True)
            sent = {
                name: response.headers[name]
                for name in ("www-authenticate", "retry-after")
                if name in response.headers
            }
            assert sent == headers

    async def test_keeps_its_context_for_the_log(self, log: list[EventDict]) -> None:
        response = await answer_to(Conflict(constraint="uq_users_email"))
        assert "uq_users_email" not in response.text
        assert log[-1]["details"] == {"constraint": "uq_users_email"}
        assert log[-1]["code"] == "conflict"

    async def test_of_a_dependency_that_is_down_is_logged_with_its_cause(
        self, log: list[EventDict]
    ) -> None:
        error = DatabaseUnavailable(host="db1")
        error.__cause__ = ConnectionRefusedError(SECRET)
        response = await answer_to(error)
        assert SECRET not in response.text
        unavailable = {
            "event": "unavailable",
            "log_level": "warning",
            "code": "database_unavailable",
            "cause": "ConnectionRefusedError",
            "details": {"host": "db1"},
        }
        assert unavailable in log  # beside slow statements of a busy machine

    async def test_without_a_family_is_unexpected(self, log: list[EventDict]) -> None:
        response = await answer_to(WithoutFamily(SECRET))
        assert status_and_code(response) == (500, "internal_error")
        assert SECRET not in response.text
        assert log[0]["event"] == "unexpected error"


class TestEarlyResponse:
    async def test_is_sent(self) -> None:
        response = await answer_to(EarlyResponse(Response("before", 201)))
        assert (response.status_code, response.text) == (201, "before")


class TestFrameworkError:
    async def test_a_wrong_method_of_a_concrete_path_is_no_invalid_id(
        self, api: AsyncClient
    ) -> None:
        response = await api.put("/orders/latest", json={})
        assert status_and_code(response) == (405, "method_not_allowed")
        assert response.headers["allow"] == "GET, HEAD"

    async def test_a_body_is_json_by_its_type(self, api: AsyncClient) -> None:
        for body, media_type, status in (
            (b"{}", "application/merge-patch+json; charset=utf-8", 200),
            (b"{}", "text/plain", 415),
            (b"{}", "", 415),
            (b"", "text/plain", 422),
        ):
            response = await api.post("/any", content=body, headers={"Content-Type": media_type})
            assert response.status_code == status

    async def test_a_body_that_is_no_json_is_400(self, api: AsyncClient) -> None:
        headers = {"Content-Type": "application/json"}
        unterminated = b'"' + b'\\",' * 300_000
        for body in (b"{", b"\xff\xfe{}", b'{"a": "\xc3\x28"}', b"[" * 10_000, unterminated):
            response = await api.post("/any", content=body, headers=headers)
            assert status_and_code(response) == (400, "malformed_request")
            Problem.model_validate(response.json())

    async def test_messages_of_libraries_are_not_repeated(self) -> None:
        for status in (400, 401, 403, 404, 406, 415, 500):
            response = await answer_to(HTTPException(status, SECRET, headers={"X-Kept": "yes"}))
            assert response.status_code == status
            assert SECRET not in response.text
            assert response.headers["x-kept"] == "yes"
            Problem.model_validate(response.json())

    async def test_a_response_that_does_not_match_its_model_stays_secret(
        self, api: AsyncClient, log: list[EventDict]
    ) -> None:
        response = await api.get("/wrong")
        assert status_and_code(response) == (500, "internal_error")
        assert log[0]["errors"] == [("response.number", "int_parsing")]
        assert SECRET not in repr(log) + response.text


class TestInvalidRequest:
    async def test_names_each_field_with_message_and_code(self, api: AsyncClient) -> None:
        response = await api.put("/orders/x", json={"name": "", "extra": 1})
        problem = Problem.model_validate(response.json())
        assert (problem.status, problem.code) == (422, "validation_error")
        assert {(each.field, each.code) for each in problem.errors} == {
            ("path.number", "int_parsing"),
            ("body.name", "string_too_short"),
            ("body.owner", "missing"),
            ("body.mail", "missing"),
            ("body.count", "missing"),
            ("body.thing", "missing"),
            ("body.extra", "extra_forbidden"),
        }

    async def test_never_repeats_the_input(self, api: AsyncClient) -> None:
        for field in ("name", "owner", "mail", "count"):
            response = await api.put("/orders/1", json={field: SECRET, "thing": {"kind": SECRET}})
            assert response.status_code == 422
            assert SECRET not in response.text

    async def test_names_unknown_fields_within_bounds(self, api: AsyncClient) -> None:
        response = await api.put("/orders/1", json={"a" * 5000: 1})
        assert max(len(each["field"]) for each in response.json()["errors"]) < 400

    async def test_lists_some_errors_and_counts_the_others(self, api: AsyncClient) -> None:
        response = await api.put("/orders/1", json={f"key{number}": 1 for number in range(9000)})
        problem = Problem.model_validate(response.json())
        assert (problem.status, len(problem.errors), problem.more_errors) == (422, 20, 8985)

    @pytest.mark.parametrize("character", ["a", "é", "😀", "\x01"])
    async def test_is_answered_in_16_kib_at_most(self, api: AsyncClient, character: str) -> None:
        keys = {f"{number}{character * 500}": 1 for number in range(100)}
        path = f"/orders/{'😀' * 2000}"
        response = await api.put(path, content=json.dumps(keys), headers=JSON)
        assert response.status_code == 422
        assert len(response.content) <= 16 * 1024
        problem = Problem.model_validate(response.json())
        assert len(problem.errors) + problem.more_errors == 106

    async def test_lists_all_errors_if_there_are_few(self, api: AsyncClient) -> None:
        response = await api.put("/orders/1", json={})
        assert (len(response.json()["errors"]), "more_errors" in response.json()) == (5, False)


class TestManyValues:
    """A request that is small, and expensive to validate."""

    @pytest.mark.parametrize(
        "body",
        [
            json.dumps({f"{number}": 1 for number in range(100_000)}),
            f"[{'[],' * 300_000}[]]",
            "[" * 900_000,
            json.dumps({"a": [{}] * 100_000}),
            json.dumps({'",\\"': ",", "b": [1] * 10_000}),
        ],
        ids=["members", "lists", "depth", "nested", "quotes"],
    )
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
    async def test_are_refused_before_they_are_parsed(
        self, api: AsyncClient, monkeypatch: pytest.MonkeyPatch, body: str, encoding: str
    ) -> None:
        monkeypatch.setattr(Request, "json", None)
        content = body.encode(encoding)[: 2**20]
        response = await api.post("/any", content=content, headers=JSON)
        assert status_and_code(response) == (413, "content_too_large")

    async def test_do_not_include_the_punctuation_of_a_text(self, api: AsyncClient) -> None:
        text = '[{,"\\' * 100_000
        response = await api.post("/any", json={"text": text, "list": [1] * 9000})
        assert (response.status_code, response.json()) == (200, 2)

    async def test_may_come_in_parts(self, api: AsyncClient) -> None:
        async def parts() -> AsyncIterator[bytes]:
            yield b'{"a": ["'
            for _ in range(6000):
                yield b'", "'
            yield b'"]}'

        response = await api.post("/any", content=parts(), headers=JSON)
        assert response.status_code == 200

    async def test_in_the_query_are_refused(self, api: AsyncClient) -> None:
        for method in ("GET", "DELETE"):
            response = await api.request(method, f"/orders/1?{'a&' * 30_000}")
            assert status_and_code(response) == (422, "validation_error")
            assert [each["field"] for each in response.json()["errors"]] == ["query"]


class TestProblemResponse:
    @given(st.text(max_size=40))
    def test_names_the_path_as_a_uri_in_printable_ascii(self, path: str) -> None:
        safe = f"/{path}".encode(errors="replace").decode()
        body = problem_response({"type": "http", "path": safe, "headers": []}, MALFORMED).body
        instance = Problem.model_validate_json(bytes(body)).instance
        assert instance.isascii()
        assert instance.isprintable()
        assert " " not in instance

    def test_has_the_detail_of_its_type_unless_given_another(self) -> None:
        scope = {"type": "http", "path": "/a", "headers": []}
        plain = json.loads(bytes(problem_response(scope, MALFORMED).body))
        given = json.loads(bytes(problem_response(scope, MALFORMED, detail="More.").body))
        assert (plain["detail"], given["detail"]) == (MALFORMED.detail, "More.")


class TestDocument:
    document: dict[str, Any] = APP.openapi()
    paths: dict[str, Any] = document["paths"]

    def errors(self, path: str, method: str) -> dict[str, Any]:
        """Return the responses of an operation that are errors, references resolved."""
        return {
            status: self.document["components"]["responses"][response["$ref"].rpartition("/")[2]]
            for status, response in self.paths[path][method]["responses"].items()
            if status >= "400"
        }

    def codes(self, path: str, method: str) -> dict[str, set[str]]:
        return {
            status: set(response["content"][PROBLEM]["examples"])
            for status, response in self.errors(path, method).items()
        }

    def test_has_errors_of_dependencies_and_common_ones(self) -> None:
        assert self.codes("/orders/{number}", "get") == {
            "401": {"unauthenticated"},
            "409": {"name_taken", "number_taken"},
            "422": {"validation_error"},
            "429": {"too_many_requests"},
            "500": {"internal_error"},
            "503": {"unavailable"},
        }

    def test_has_errors_of_request_bodies(self) -> None:
        assert self.codes("/orders/{number}", "put") == {
            "400": {"malformed_request"},
            "409": {"conflict"},
            "413": {"content_too_large"},
            "415": {"unsupported_media_type"},
            "422": {"validation_error"},
            "429": {"too_many_orders"},
            "500": {"internal_error"},
        }

    def test_merges_errors_of_one_status(self) -> None:
        conflict = self.errors("/orders/{number}", "get")["409"]
        assert conflict["description"] == "`name_taken`: Name taken; `number_taken`: Number taken"
        schema = conflict["content"][PROBLEM]["schema"]
        assert schema == {"$ref": "#/components/schemas/Problem"}

    def test_has_the_headers_of_errors(self) -> None:
        errors = self.errors("/orders/{number}", "get")
        required = {
            status: {name: each["required"] for name, each in error.get("headers", {}).items()}
            for status, error in errors.items()
        }
        assert required == {
            "401": {"WWW-Authenticate": True},
            "409": {"Retry-After": False},
            "422": {},
            "429": {"Retry-After": True},
            "500": {},
            "503": {"Retry-After": True},
        }

    def test_offers_a_security_scheme_only_where_it_can_have_the_scopes(self) -> None:
        schemes = {
            method: [
                name for each in self.paths["/orders/{number}"][method]["security"] for name in each
            ]
            for method in ("get", "delete")
        }
        assert schemes == {"get": ["Token", "Key"], "delete": ["Token"]}

    def test_leaves_hidden_operations_out(self) -> None:
        assert "/hidden" not in self.paths

    def test_is_rebuilt_for_added_routes(self) -> None:
        app = build()
        assert app.openapi() is app.openapi()
        app.add_api_route("/late/{number}", lambda number: number)
        responses = app.openapi()["paths"]["/late/{number}"]["get"]["responses"]
        assert responses["422"] == {"$ref": "#/components/responses/validation_error"}
