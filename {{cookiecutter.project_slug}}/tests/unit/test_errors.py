"""From errors to problems."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from fastapi import Body, Depends, FastAPI
from httpx2 import ASGITransport, AsyncClient
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, EmailStr, Field
from starlette.exceptions import HTTPException
from structlog.testing import capture_logs
from structlog.typing import EventDict

from app.config import Settings
from app.core.errors import (
    Conflict,
    DatabaseUnavailable,
    DomainError,
    FieldError,
    Forbidden,
    InsufficientScope,
    InvalidInput,
    InvalidToken,
    PreconditionFailed,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from app.domain.auth import InvalidCredentials
from app.domain.idempotency import IdempotencyKeyInUse
from app.domain.items import ItemNotFound
from app.domain.users import EmailTaken, UsernameTaken
from app.infrastructure.http import problems as errors
from app.infrastructure.http.middleware import middleware
from app.infrastructure.http.openapi import DocumentedApi, operation_id
from app.infrastructure.http.problem_schema import FieldProblem, Problem
from app.infrastructure.http.problems import (
    MALFORMED,
    kind_of,
    problem_response,
    problems,
    raises,
    status_of,
)

SECRET = "hunter2-correct-horse"


class Tool(BaseModel):
    kind: Literal["tool"]


class Toy(BaseModel):
    kind: Literal["toy"]


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    title: Annotated[str, Field(min_length=1, max_length=5)]
    owner: UUID
    mail: EmailStr
    count: int
    thing: Annotated[Tool | Toy, Field(discriminator="kind")]


class Answer(BaseModel):
    number: int


def unknown_family() -> type[DomainError]:
    class Novelty(DomainError):
        code = "novelty"
        title = "Something new"

    return Novelty


def build(*raised: Exception) -> FastAPI:
    app = DocumentedApi(middleware=middleware(Settings()), generate_unique_id_function=operation_id)
    errors.install(app)
    waiting = list(raised)

    @raises(Unauthenticated)
    async def get_user() -> str:
        """A dependency of a dependency."""
        return "somebody"

    @raises(Unavailable, TooManyRequests)
    async def get_database(user: Annotated[str, Depends(get_user)]) -> str:
        return user

    @app.get("/raise")
    async def raise_it() -> None:
        raise waiting.pop()

    @app.get("/things/{number}", responses=problems(EmailTaken, UsernameTaken))
    async def get_thing(number: int, user: Annotated[str, Depends(get_database)]) -> Answer:
        return Answer(number=number)

    @app.put("/things/{number}", responses=problems(TooManyLoginsForTest, Conflict))
    async def put_thing(number: int, order: Order) -> Answer:
        return Answer(number=number)

    @app.post("/any")
    async def post_any(anything: Annotated[dict[str, object], Body()]) -> int:
        return len(anything)

    @app.get("/wrong", response_model=Answer)
    async def answer_wrongly() -> Any:
        return {"number": SECRET}

    @app.get("/hidden", include_in_schema=False)
    async def hidden() -> None: ...

    return app


class TooManyLoginsForTest(TooManyRequests):
    code = "too_many_logins"
    title = "Too many logins"


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


def descendants(error: type[DomainError]) -> Iterator[type[DomainError]]:
    for child in error.__subclasses__():
        if child.__module__.startswith("app."):
            yield child
            yield from descendants(child)


EVERY_ERROR = sorted(descendants(DomainError), key=lambda error: error.__name__)


class TestTable:
    @pytest.mark.parametrize("error", EVERY_ERROR)
    def test_has_a_status_for_every_domain_error(self, error: type[DomainError]) -> None:
        assert 400 <= status_of(error) < 600
        assert status_of(error) != 500

    def test_has_one_meaning_for_each_code(self) -> None:
        codes = [error.code for error in EVERY_ERROR]
        inherited = [
            error for error in EVERY_ERROR if error.code == getattr(error.__base__, "code", None)
        ]
        assert len(codes) - len(inherited) == len(set(codes))

    def test_takes_an_unknown_family_for_a_bug(self) -> None:
        assert status_of(unknown_family()) == 500


async def answer_to(error: Exception) -> Any:
    async with client(build(error)) as api:
        return await api.get("/raise", headers={"X-Request-ID": "abc"})


class TestDomainError:
    async def test_becomes_a_problem(self) -> None:
        response = await answer_to(ItemNotFound("There is no item 7.", owner=SECRET))
        assert response.status_code == 404
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json() == {
            "type": "urn:problem:item_not_found",
            "title": "There is no such item",
            "status": 404,
            "detail": "There is no item 7.",
            "instance": "/raise",
            "code": "item_not_found",
            "request_id": "abc",
        }

    @pytest.mark.parametrize(
        ("error", "status", "headers"),
        [
            (Unauthenticated(), 401, {"www-authenticate": "Bearer"}),
            (InvalidCredentials(), 401, {"www-authenticate": "Bearer"}),
            (
                InvalidToken("Expired."),
                401,
                {
                    "www-authenticate": 'Bearer error="invalid_token", '
                    'error_description="The token is not valid"'
                },
            ),
            (Forbidden(), 403, {}),
            (
                InsufficientScope(("items:read", "items:write")),
                403,
                {
                    "www-authenticate": 'Bearer error="insufficient_scope", '
                    'scope="items:read items:write"'
                },
            ),
            (Conflict(), 409, {}),
            (IdempotencyKeyInUse(), 409, {"retry-after": "1"}),
            (PreconditionFailed(), 412, {}),
            (InvalidInput(FieldError("body.a", "no", "bad")), 422, {}),
            (TooManyRequests(17), 429, {"retry-after": "17"}),
            (DatabaseUnavailable(), 503, {"retry-after": "5"}),
        ],
    )
    async def test_has_the_status_and_the_headers_of_its_family(
        self, error: DomainError, status: int, headers: dict[str, str]
    ) -> None:
        response = await answer_to(error)
        assert response.status_code == status
        Problem.model_validate(response.json(), strict=True)
        sent = {
            name: response.headers[name]
            for name in ("www-authenticate", "retry-after")
            if name in response.headers
        }
        assert sent == headers

    async def test_about_fields_names_them(self) -> None:
        response = await answer_to(InvalidInput(FieldError("body.sort", "unknown", "sort")))
        assert response.json()["errors"] == [
            {"field": "body.sort", "message": "unknown", "code": "sort"}
        ]

    async def test_keeps_its_context_for_the_log(self, log: list[EventDict]) -> None:
        response = await answer_to(Conflict(constraint="uq_users_email"))
        assert "uq_users_email" not in response.text
        assert log[-1]["facts"] == {"constraint": "uq_users_email"}
        assert log[-1]["code"] == "conflict"

    async def test_of_a_dependency_that_is_down_is_logged_with_its_cause(
        self, log: list[EventDict]
    ) -> None:
        error = DatabaseUnavailable(host="db1")
        error.__cause__ = ConnectionRefusedError(SECRET)
        response = await answer_to(error)
        assert SECRET not in response.text
        assert log[0] == {
            "event": "unavailable",
            "log_level": "warning",
            "code": "database_unavailable",
            "cause": "ConnectionRefusedError",
            "facts": {"host": "db1"},
        }

    async def test_without_a_family_is_an_error_of_ours(self, log: list[EventDict]) -> None:
        response = await answer_to(unknown_family()(SECRET))
        assert (response.status_code, response.json()["code"]) == (500, "internal_error")
        assert SECRET not in response.text
        assert log[0]["event"] == "unexpected error"


class TestFrameworkError:
    async def test_an_unknown_path_is_404(self, api: AsyncClient) -> None:
        response = await api.get("/nowhere")
        assert (response.status_code, response.json()["code"]) == (404, "path_not_found")

    async def test_a_wrong_method_is_405_and_names_all_that_are_right(
        self, api: AsyncClient
    ) -> None:
        response = await api.delete("/things/1")
        assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")
        assert response.headers["allow"] == "GET, HEAD, PUT"

    @pytest.mark.parametrize("body", [b"{", b"\xff\xfe{}", b'{"a": "\xc3\x28"}', b"[" * 100_000])
    async def test_a_body_that_is_no_json_is_400(self, api: AsyncClient, body: bytes) -> None:
        response = await api.post(
            "/any", content=body, headers={"Content-Type": "application/json"}
        )
        assert (response.status_code, response.json()["code"]) == (400, "malformed_request")
        Problem.model_validate(response.json())

    @pytest.mark.parametrize("headers", [{}, {"Content-Type": "text/plain"}])
    async def test_a_body_that_does_not_say_it_is_json_is_415(
        self, api: AsyncClient, headers: dict[str, str]
    ) -> None:
        response = await api.put("/things/x", content=b'{"title": "A"}', headers=headers)
        assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")
        assert "Content-Type" in response.json()["detail"]

    async def test_a_body_of_a_type_that_is_json_is_read(self, api: AsyncClient) -> None:
        headers = {"Content-Type": "application/merge-patch+json; charset=utf-8"}
        response = await api.post("/any", content=b"{}", headers=headers)
        assert (response.status_code, response.json()) == (200, 0)

    async def test_no_body_at_all_is_422(self, api: AsyncClient) -> None:
        response = await api.post("/any", headers={"Content-Type": "text/plain"})
        assert (response.status_code, response.json()["code"]) == (422, "validation_error")

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 406, 415, 500])
    async def test_a_librarys_words_are_not_repeated(self, status: int) -> None:
        response = await answer_to(HTTPException(status, SECRET, headers={"X-Kept": "yes"}))
        assert response.status_code == status
        assert SECRET not in response.text
        assert response.headers["x-kept"] == "yes"
        Problem.model_validate(response.json())

    async def test_a_response_that_does_not_fit_is_ours_and_stays_secret(
        self, api: AsyncClient, log: list[EventDict]
    ) -> None:
        response = await api.get("/wrong")
        assert (response.status_code, response.json()["code"]) == (500, "internal_error")
        assert log[0]["errors"] == [("response.number", "int_parsing")]
        assert SECRET not in repr(log) + response.text


class TestInvalidRequest:
    async def test_names_each_field_with_message_and_code(self, api: AsyncClient) -> None:
        response = await api.put("/things/x", json={"title": "", "extra": 1})
        assert response.status_code == 422
        problem = Problem.model_validate(response.json())
        assert problem.code == "validation_error"
        assert {(each.field, each.code) for each in problem.errors} == {
            ("path.number", "int_parsing"),
            ("body.title", "string_too_short"),
            ("body.owner", "missing"),
            ("body.mail", "missing"),
            ("body.count", "missing"),
            ("body.thing", "missing"),
            ("body.extra", "extra_forbidden"),
        }

    @pytest.mark.parametrize("field", ["title", "owner", "mail", "count"])
    async def test_never_repeats_what_was_sent(self, api: AsyncClient, field: str) -> None:
        response = await api.put("/things/1", json={field: SECRET, "thing": {"kind": SECRET}})
        assert response.status_code == 422
        assert SECRET not in response.text

    async def test_names_unknown_fields_within_bounds(self, api: AsyncClient) -> None:
        response = await api.put("/things/1", json={"a" * 5000: 1})
        assert max(len(each["field"]) for each in response.json()["errors"]) < 400

    @given(st.dictionaries(st.text(max_size=20), st.text(max_size=20) | st.integers()))
    async def test_is_a_problem_whatever_was_sent(self, body: dict[str, object]) -> None:
        async with client(APP) as api:
            response = await api.put(
                "/things/1",
                content=json.dumps(body),
                headers={"Content-Type": "application/json"},
            )
        assert response.status_code == 422
        assert Problem.model_validate_json(response.content).errors


class TestProblemResponse:
    @given(st.text(max_size=40))
    def test_names_the_path_as_a_uri_in_printable_ascii(self, path: str) -> None:
        scope = {
            "type": "http",
            "path": f"/{path}".encode(errors="replace").decode(),
            "headers": [],
        }
        body = bytes(problem_response(scope, MALFORMED).body)
        instance = Problem.model_validate_json(body).instance
        assert instance.isascii()
        assert instance.isprintable()
        assert " " not in instance

    def test_says_what_the_kind_says_unless_told_more(self) -> None:
        scope = {"type": "http", "path": "/a", "headers": []}
        plain = json.loads(bytes(problem_response(scope, MALFORMED).body))
        told = json.loads(bytes(problem_response(scope, MALFORMED, detail="More.").body))
        assert (plain["detail"], told["detail"]) == (MALFORMED.detail, "More.")

    @pytest.mark.parametrize("model", [Problem, FieldProblem])
    def test_has_examples_that_validate(self, model: type[BaseModel]) -> None:
        schema = model.model_json_schema()
        assert schema["examples"]
        for example in schema["examples"]:
            model.model_validate(example)
        for field in model.model_fields.values():
            assert field.description
            assert field.examples


class TestProblems:
    def test_documents_a_status_for_each_family(self) -> None:
        assert set(problems(ItemNotFound, EmailTaken, TooManyRequests)) == {404, 409, 429}

    def test_merges_errors_of_one_status(self) -> None:
        response = problems(EmailTaken, UsernameTaken)[409]
        assert "`email_taken`" in response["description"]
        assert "`username_taken`" in response["description"]
        content = response["content"]["application/problem+json"]
        assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
        assert set(content["examples"]) == {"email_taken", "username_taken"}

    @pytest.mark.parametrize("error", EVERY_ERROR)
    def test_has_examples_that_validate(self, error: type[DomainError]) -> None:
        kind = kind_of(error)
        content = problems(error)[kind.status]["content"]["application/problem+json"]
        example = Problem.model_validate(content["examples"][kind.code]["value"])
        assert (example.code, example.status) == (kind.code, kind.status)
        assert bool(example.errors) == (kind.status == 422)

    @pytest.mark.parametrize(
        ("error", "header"),
        [
            (TooManyRequests, "Retry-After"),
            (Unavailable, "Retry-After"),
            (InvalidToken, "WWW-Authenticate"),
        ],
    )
    def test_documents_headers(self, error: type[DomainError], header: str) -> None:
        [response] = problems(error).values()
        assert response["headers"][header]["description"]

    def test_leaves_families_without_headers_without(self) -> None:
        assert "headers" not in problems(Conflict)[409]


class TestDocument:
    document: dict[str, Any] = APP.openapi()
    paths: dict[str, Any] = document["paths"]

    def problems(self, path: str, method: str) -> dict[str, Any]:
        """The responses of an operation that are errors, by status, references resolved."""
        return {
            status: self.resolved(response)
            for status, response in self.paths[path][method]["responses"].items()
            if status >= "400"
        }

    def resolved(self, response: dict[str, Any]) -> Any:
        name = response.get("$ref", "").rpartition("/")[2]
        return self.document["components"]["responses"][name] if name else response

    def codes(self, path: str, method: str) -> dict[str, set[str]]:
        return {
            status: set(response["content"]["application/problem+json"]["examples"])
            for status, response in self.problems(path, method).items()
        }

    def test_has_what_dependencies_raise_and_what_any_operation_can(self) -> None:
        assert self.codes("/things/{number}", "get") == {
            "401": {"unauthenticated"},
            "409": {"email_taken", "username_taken"},
            "422": {"validation_error"},
            "429": {"too_many_requests"},
            "500": {"internal_error"},
            "503": {"unavailable"},
        }

    def test_has_what_can_be_wrong_with_a_body(self) -> None:
        assert self.codes("/things/{number}", "put") == {
            "400": {"malformed_request"},
            "409": {"conflict"},
            "413": {"content_too_large"},
            "415": {"unsupported_media_type"},
            "422": {"validation_error"},
            "429": {"too_many_logins"},
            "500": {"internal_error"},
        }

    def test_has_only_problems_for_errors(self) -> None:
        for path, operations in self.paths.items():
            for method in operations:
                for response in self.problems(path, method).values():
                    assert set(response["content"]) == {"application/problem+json"}

    def test_has_the_schema_of_problems_and_no_other(self) -> None:
        schemas = APP.openapi()["components"]["schemas"]
        assert {"Problem", "FieldProblem"} <= set(schemas)
        assert set(schemas).isdisjoint({"HTTPValidationError", "ValidationError"})
        assert "$defs" not in schemas["Problem"]

    def test_leaves_hidden_operations_out(self) -> None:
        assert "/hidden" not in self.paths

    def test_is_made_once(self) -> None:
        assert APP.openapi() is APP.openapi()

    def test_is_made_again_for_a_route_that_is_added(self) -> None:
        app = build()
        app.openapi()
        app.add_api_route("/late/{number}", lambda number: number)
        responses = app.openapi()["paths"]["/late/{number}"]["get"]["responses"]
        assert responses["422"] == {"$ref": "#/components/responses/validation_error"}

    def test_names_operations_after_their_functions(self) -> None:
        assert self.paths["/any"]["post"]["operationId"] == "post_any"
