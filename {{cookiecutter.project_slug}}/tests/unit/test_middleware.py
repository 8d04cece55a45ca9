"""What every request passes through."""

import asyncio
import gzip
import itertools
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
import structlog
from fastapi import APIRouter, FastAPI, Request
from httpx2 import ASGITransport, AsyncClient, Response
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send
from structlog.testing import capture_logs
from structlog.typing import EventDict

from app.config import Settings
from app.core.config import HttpSettings
from app.core.errors import DatabaseUnavailable
from app.core.logging import LoggedError
from app.domain.auth import SessionId
from app.domain.users import UserId
from app.infrastructure.database.statistics import statistics
from app.infrastructure.http import problems as errors
from app.infrastructure.http.context import identify, is_head
from app.infrastructure.http.middleware import bodies, middleware
from app.infrastructure.http.middleware.access import RequestLog
from app.infrastructure.http.middleware.bodies import (
    BodyLimit,
    Compression,
    HeadAsGet,
    LingeringClose,
)
from app.infrastructure.http.middleware.boundary import ErrorBoundary
from app.infrastructure.http.middleware.headers import ResponseHeaders
from app.infrastructure.http.middleware.origins import TrustedHosts
from tests.support.arrange import gone
from tests.support.serving import served
from tests.support.waiting import PATIENCE

MAX_BYTES = 1024
FAR_TOO_MANY_BYTES = 8 * 1024 * 1024  # more than the kernel holds of what nobody reads
BIG = "a" * 5000
ONE_FOR_ALL = PlainTextResponse("always the same object")
PRINCIPAL = replace(
    gone(),
    user=replace(gone().user, id=UserId(UUID(int=7))),
    session_id=SessionId(UUID(int=8)),
)

items = APIRouter(prefix="/items")
v1 = APIRouter(prefix="/api/v1")


@items.get("/{item_id}")
async def get_item(item_id: int) -> int:
    return item_id


v1.include_router(items)


async def fail() -> None:
    raise RuntimeError("database://app:hunter2@database")


async def fail_half_way() -> StreamingResponse:
    return half(RuntimeError("the other half"))


async def unavailable_half_way() -> StreamingResponse:
    return half(DatabaseUnavailable(reason="the connection was lost"))


async def lost_half_way() -> StreamingResponse:
    error = KeyError("what was made of it")
    error.__cause__ = DatabaseUnavailable()
    return half(error)


def half(error: Exception) -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b"half"
        raise error

    return StreamingResponse(parts())


async def log_a_line(request: Request) -> None:
    identify(request, PRINCIPAL)
    structlog.stdlib.get_logger().info("inside", **structlog.contextvars.get_contextvars())


async def ask_the_database() -> None:
    account = statistics.get()
    assert account is not None
    account.statements += 3
    account.seconds += 0.25


async def measure_body(request: Request) -> int:
    return len(await request.body())


def build(**http: Any) -> FastAPI:
    settings = Settings(http=HttpSettings(**{"max_body_bytes": MAX_BYTES} | http))
    app = FastAPI(middleware=middleware(settings), openapi_url="/openapi.json")
    errors.install(app)
    app.include_router(v1)
    app.add_api_route("/fail", fail, response_model=None)
    app.add_api_route("/fail-half-way", fail_half_way, response_model=None)
    app.add_api_route("/unavailable-half-way", unavailable_half_way, response_model=None)
    app.add_api_route("/lost-half-way", lost_half_way, response_model=None)
    app.add_api_route("/log", log_a_line)
    app.add_api_route("/database", ask_the_database)
    app.add_api_route("/measure", measure_body, methods=["POST"])
    app.add_api_route("/same", lambda: ONE_FOR_ALL, response_model=None)
    app.add_api_route("/live", lambda: "alive")
    return app


def client(app: FastAPI, *, address: str = "203.0.113.9") -> AsyncClient:
    transport = ASGITransport(app=app, client=(address, 4321), raise_app_exceptions=False)
    return AsyncClient(transport=transport, base_url="http://api.example.com")


APP = build()


@pytest.fixture
async def api() -> AsyncIterator[AsyncClient]:
    async with client(APP) as opened:
        yield opened


@pytest.fixture(autouse=True)
def log() -> Iterator[list[EventDict]]:
    with capture_logs() as lines:
        yield lines


async def drive(
    app: Any, scope: Scope, received: Sequence[Message] = ({"type": "http.request"},)
) -> list[Message]:
    """Run an ASGI application, and return what it sends."""
    waiting = list(received)
    sent: list[Message] = []

    async def receive() -> Message:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


def http_scope(
    path: str = "/measure",
    *,
    method: str = "GET",
    headers: Sequence[tuple[bytes, bytes]] = (),
    client: tuple[str, int] | None = ("203.0.113.9", 4321),
) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [*headers],
        "client": client,
        "server": ("api.example.com", 80),
    }


async def answer_ok(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


async def read_all(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer once the whole body was read."""
    while (await receive()).get("more_body", False):
        pass
    await answer_ok(scope, receive, send)


def name_of(layer: Middleware) -> str:
    name: str = getattr(layer.cls, "__name__")  # noqa: B009 - a factory need not have one
    return name


def headers_of(sent: list[Message]) -> dict[bytes, bytes]:
    return dict(sent[0]["headers"])


class TestOrder:
    def test_is_the_same_as_the_reasons_say(self) -> None:
        settings = Settings(
            http=HttpSettings(
                trusted_hosts=["api.example.com"], cors_origins=["https://app.example.com"]
            )
        )
        assert [name_of(layer) for layer in middleware(settings)] == [
            "LingeringClose",
            "ProxyHeadersMiddleware",
            "RequestLog",
            "ResponseHeaders",
            "TrustedHosts",
            "Cors",
            "BodyLimit",
            "HeadAsGet",
            "Compression",
            "KeptAnswers",
            "ErrorBoundary",
        ]

    def test_leaves_out_what_does_not_apply(self) -> None:
        names = {name_of(layer) for layer in middleware(Settings(environment="test"))}
        assert names.isdisjoint({"TrustedHosts", "Cors"})


class TestRequestId:
    @given(st.from_regex(r"[A-Za-z0-9._-]{1,128}", fullmatch=True))
    async def test_is_the_clients_if_well_formed(self, request_id: str) -> None:
        sent = await drive(
            RequestLog(answer_ok), http_scope(headers=[(b"x-request-id", request_id.encode())])
        )
        assert headers_of(sent)[b"x-request-id"] == request_id.encode()

    @given(
        st.binary(max_size=200).filter(
            lambda value: not re.fullmatch(rb"[A-Za-z0-9._-]{1,128}", value)
        )
    )
    async def test_is_ours_if_the_clients_is_malformed(self, request_id: bytes) -> None:
        sent = await drive(
            RequestLog(answer_ok), http_scope(headers=[(b"x-request-id", request_id)])
        )
        assert UUID(headers_of(sent)[b"x-request-id"].decode()).version == 7

    async def test_is_ours_if_there_is_none(self, api: AsyncClient) -> None:
        first, second = await api.get("/live"), await api.get("/live")
        assert UUID(first.headers["x-request-id"]).version == 7
        assert first.headers["x-request-id"] != second.headers["x-request-id"]

    @pytest.mark.parametrize("path", ["/live", "/nowhere", "/fail", "/api/v1/items/no-number"])
    async def test_is_on_every_response_and_in_every_problem(
        self, api: AsyncClient, path: str
    ) -> None:
        response = await api.get(path, headers={"X-Request-ID": "from-the-client"})
        assert response.headers["x-request-id"] == "from-the-client"
        if response.is_error:
            assert response.json()["request_id"] == "from-the-client"

    async def test_is_bound_to_every_line_and_so_is_the_user(
        self, api: AsyncClient, log: list[EventDict]
    ) -> None:
        await api.get("/log", headers={"X-Request-ID": "abc"})
        assert (log[0]["request_id"], log[0]["user_id"]) == ("abc", str(UUID(int=7)))

    async def test_is_unbound_afterwards(self, api: AsyncClient) -> None:
        await api.get("/log")
        assert structlog.contextvars.get_contextvars() == {}


class TestRequestLog:
    async def test_writes_one_line_for_each_request(
        self, api: AsyncClient, log: list[EventDict]
    ) -> None:
        response = await api.get("/api/v1/items/3?secret=1", headers={"X-Request-ID": "abc"})
        assert response.json() == 3
        [line] = log
        assert line.pop("duration_ms") > 0
        assert {"route", "status"} < line.pop("vouched")
        assert line == {
            "event": "request",
            "log_level": "info",
            "method": "GET",
            "route": "/api/v1/items/{item_id}",
            "status": 200,
            "request_id": "abc",
            "client": "203.0.113.9",
        }

    @pytest.mark.parametrize(
        ("path", "route"),
        [
            ("/api/v1/items/3", "/api/v1/items/{item_id}"),
            ("/api/v1/items/no-number", "/api/v1/items/{item_id}"),
            ("/live", "/live"),
            ("/openapi.json", "/openapi.json"),
            ("/nowhere", None),
        ],
    )
    async def test_names_the_whole_template_of_the_route(
        self, api: AsyncClient, log: list[EventDict], path: str, route: str | None
    ) -> None:
        await api.get(path)
        assert log[-1]["route"] == route

    async def test_names_the_code_of_a_problem(
        self, api: AsyncClient, log: list[EventDict]
    ) -> None:
        await api.get("/nowhere")
        assert (log[-1]["status"], log[-1]["code"]) == (404, "path_not_found")

    async def test_names_the_user_once_known(self, api: AsyncClient, log: list[EventDict]) -> None:
        await api.get("/log")
        assert (log[-1]["user_id"], log[-1]["session_id"]) == (str(UUID(int=7)), str(UUID(int=8)))
        assert "api_key_id" not in log[-1]

    async def test_counts_statements_and_their_time(
        self, api: AsyncClient, log: list[EventDict]
    ) -> None:
        await api.get("/database")
        assert (log[-1]["statements"], log[-1]["database_ms"]) == (3, 250.0)

    async def test_names_a_head_as_such_and_its_route(
        self, api: AsyncClient, log: list[EventDict]
    ) -> None:
        await api.head("/api/v1/items/3")
        assert (log[-1]["method"], log[-1]["route"]) == ("HEAD", "/api/v1/items/{item_id}")

    async def test_is_written_for_a_request_that_breaks_off(self, log: list[EventDict]) -> None:
        async def broken_off(scope: Scope, receive: Receive, send: Send) -> None:
            raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            await drive(RequestLog(broken_off), http_scope())
        assert log[-1]["status"] is None

    async def test_survives_a_client_without_address(self, log: list[EventDict]) -> None:
        await drive(RequestLog(answer_ok), http_scope(client=None))
        assert log[-1]["client"] is None

    async def test_believes_a_trusted_proxy_about_the_client(self, log: list[EventDict]) -> None:
        forwarded = {"X-Forwarded-For": "198.51.100.1"}
        async with client(APP, address="127.0.0.1") as proxy:
            await proxy.get("/live", headers=forwarded)
        async with client(APP) as stranger:
            await stranger.get("/live", headers=forwarded)
        assert [line["client"] for line in log] == ["198.51.100.1", "203.0.113.9"]

    async def test_tells_each_client_how_long_it_took(self, api: AsyncClient) -> None:
        response = await api.get("/live")
        assert 0 < float(response.headers["x-process-time"]) < 60


class TestResponseHeaders:
    @pytest.mark.parametrize("path", ["/live", "/nowhere", "/fail"])
    async def test_are_on_every_response(self, api: AsyncClient, path: str) -> None:
        headers = (await api.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["referrer-policy"] == "no-referrer"
        assert "camera=()" in headers["permissions-policy"]
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"

    async def test_leave_the_cache_control_of_a_route_alone(self) -> None:
        async def kept(scope: Scope, receive: Receive, send: Send) -> None:
            headers = [(b"cache-control", b"public")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})

        sent = await drive(ResponseHeaders(kept), http_scope())
        values = [value for name, value in sent[0]["headers"] if name == b"cache-control"]
        assert values == [b"public"]

    async def test_name_no_type_of_nothing(self) -> None:
        async def deleted(scope: Scope, receive: Receive, send: Send) -> None:
            await JSONResponse(None, 204)(scope, receive, send)

        sent = await drive(ResponseHeaders(deleted), http_scope())
        assert b"content-type" not in dict(sent[0]["headers"])

    async def test_let_the_documentation_load_its_scripts(self, api: AsyncClient) -> None:
        page = await api.get("/docs")
        sources = re.findall(r'(?:src|href)="(https://[^/"]+)', page.text)
        assert sources
        for source in sources:
            assert source in page.headers["content-security-policy"]

    async def test_do_not_pile_up_on_a_response_that_is_sent_again(self, api: AsyncClient) -> None:
        await api.get("/same")
        again = await api.get("/same")
        assert len(again.headers.get_list("x-request-id")) == 1
        assert len(again.headers.get_list("x-frame-options")) == 1

    def test_insist_on_https_in_production_only(self) -> None:
        settings = Settings()
        production = settings.model_copy(update={"environment": "production"})
        [there] = [one for one in middleware(production) if name_of(one) == "ResponseHeaders"]
        [here] = [one for one in middleware(settings) if name_of(one) == "ResponseHeaders"]
        assert (there.kwargs["hsts_seconds"], here.kwargs["hsts_seconds"]) == (31_536_000, 0)

    @pytest.mark.parametrize(
        ("seconds", "value"), [(60, b"max-age=60; includeSubDomains"), (0, None)]
    )
    async def test_say_how_long_https_is_insisted_on(
        self, seconds: int, value: bytes | None
    ) -> None:
        sent = await drive(ResponseHeaders(answer_ok, hsts_seconds=seconds), http_scope())
        assert headers_of(sent).get(b"strict-transport-security") == value


labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


class TestTrustedHosts:
    layer = TrustedHosts(answer_ok, ["api.example.com", "*.example.org", "::1"])

    async def status(self, *hosts: bytes, path: str = "/measure") -> int:
        sent = await drive(
            self.layer, http_scope(path, headers=[(b"host", host) for host in hosts])
        )
        return int(sent[0]["status"])

    @pytest.mark.parametrize(
        "host",
        [
            b"api.example.com",
            b"API.Example.COM",
            b"api.example.com:8443",
            b"[::1]:8000",
            b"a.example.org",
            b"a.b.example.org",
        ],
    )
    async def test_are_served(self, host: bytes) -> None:
        assert await self.status(host) == 200

    @pytest.mark.parametrize(
        "host",
        [
            b"",
            b"example.com",
            b"example.org",
            b"notexample.org",
            b"api.example.com.evil.net",
            b"api.example.com:port",
            b"api.example.com@evil.net",
            b"api.example.com/evil",
            b"api.example.com\n",
        ],
    )
    async def test_others_are_refused(self, host: bytes) -> None:
        assert await self.status(host) == 400

    @given(labels)
    async def test_every_name_under_a_wildcard_is_served(self, label: str) -> None:
        assert await self.status(f"{label}.example.org".encode()) == 200

    @given(st.binary(max_size=60))
    async def test_no_odd_header_breaks_it(self, host: bytes) -> None:
        assert await self.status(host) in {200, 400}

    async def test_a_request_without_a_host_or_with_two_is_refused(self) -> None:
        assert await self.status() == 400
        assert await self.status(b"api.example.com", b"api.example.com") == 400

    @pytest.mark.parametrize("path", ["/health", "/live", "/ready"])
    async def test_a_probe_may_ask_by_address(self, path: str) -> None:
        assert await self.status(b"10.0.0.7:8000", path=path) == 200

    async def test_the_refusal_is_a_problem(self) -> None:
        async with client(build(trusted_hosts=["other.example.com"])) as api:
            response = await api.get("/same")
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["code"] == "invalid_host"
        assert response.headers["x-frame-options"] == "DENY"


PREFLIGHT = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "PATCH"}


class TestCors:
    @pytest.fixture
    async def api(self) -> AsyncIterator[AsyncClient]:
        async with client(build(cors_origins=["https://app.example.com"])) as opened:
            yield opened

    async def test_permits_the_origins_that_are_named(self, api: AsyncClient) -> None:
        asked = {"Access-Control-Request-Headers": "authorization,if-match"}
        response = await api.options("/api/v1/items/3", headers=PREFLIGHT | asked)
        assert response.status_code == 200
        assert response.headers["access-control-allow-origin"] == "https://app.example.com"
        assert "PATCH" in response.headers["access-control-allow-methods"]

    @pytest.mark.parametrize(
        "change",
        [
            {"Origin": "https://evil.example.com"},
            {"Access-Control-Request-Method": "TRACE"},
            {"Access-Control-Request-Headers": "x-evil"},
        ],
    )
    async def test_refuses_anything_else_with_a_problem(
        self, api: AsyncClient, change: dict[str, str]
    ) -> None:
        response = await api.options("/api/v1/items/3", headers=PREFLIGHT | change)
        assert response.status_code == 400
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["code"] == "cors_refused"

    @pytest.mark.parametrize("path", ["/live", "/fail", "/nowhere"])
    async def test_lets_pages_read_responses_and_their_headers(
        self, api: AsyncClient, path: str
    ) -> None:
        response = await api.get(path, headers={"Origin": "https://app.example.com"})
        assert response.headers["access-control-allow-origin"] == "https://app.example.com"
        exposed = response.headers["access-control-expose-headers"].split(", ")
        assert {"ETag", "Location", "RateLimit", "Retry-After", "X-Request-ID"} <= set(exposed)
        assert "Content-Disposition" in exposed, "what they save has a name"

    async def test_keeps_responses_from_other_pages(self, api: AsyncClient) -> None:
        response = await api.get("/live", headers={"Origin": "https://evil.example.com"})
        assert "access-control-allow-origin" not in response.headers

    async def test_an_options_that_asks_for_nothing_goes_to_the_route(
        self, api: AsyncClient
    ) -> None:
        response = await api.options("/live")
        assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD")


class TestBodyLimit:
    @given(st.integers(min_value=0, max_value=3 * MAX_BYTES))
    async def test_holds_what_announces_its_length(self, size: int) -> None:
        async with client(APP) as api:
            response = await api.post("/measure", content=b"a" * size)
        assert response.status_code == (200 if size <= MAX_BYTES else 413)

    @given(st.lists(st.binary(max_size=600), max_size=6))
    @example([b"a" * MAX_BYTES, b"a"])
    @example([b"a" * MAX_BYTES, b""])
    async def test_holds_what_comes_in_parts(self, parts: list[bytes]) -> None:
        async def body() -> AsyncIterator[bytes]:
            for part in parts:
                yield part

        async with client(APP) as api:
            response = await api.post("/measure", content=body())
        size = sum(map(len, parts))
        if size <= MAX_BYTES:
            assert (response.status_code, response.json()) == (200, size)
        else:
            assert (response.status_code, response.json()["code"]) == (413, "content_too_large")

    async def test_is_not_fooled_by_a_length_that_is_a_lie(self) -> None:
        scope = http_scope(method="POST", headers=[(b"content-length", b"1")])
        body = {"type": "http.request", "body": b"a" * (MAX_BYTES + 1)}
        sent = await drive(APP, scope, [body])
        assert sent[0]["status"] == 413

    @pytest.mark.parametrize(
        ("encoding", "status"), [("gzip", 415), ("Identity", 200), ("", 200), ("br, identity", 415)]
    )
    async def test_refuses_what_is_encoded(self, encoding: str, status: int) -> None:
        async with client(APP) as api:
            headers = {"Content-Encoding": encoding}
            response = await api.post("/measure", content=b"a", headers=headers)
            empty = await api.post("/measure", headers=headers)
        assert response.status_code == status
        assert response.headers.get("accept-encoding") == ("identity" if status == 415 else None)
        assert empty.status_code == 200

    @pytest.mark.parametrize(
        "body",
        [(b"content-length", b"5"), (b"transfer-encoding", b"chunked")],
        ids=["whole", "in parts"],
    )
    async def test_reads_nothing_of_what_is_encoded(self, body: tuple[bytes, bytes]) -> None:
        async def must_not_run(scope: Scope, receive: Receive, send: Send) -> None:
            pytest.fail("the application ran")

        scope = http_scope(method="POST", headers=[body, (b"content-encoding", b"gzip")])
        sent = await drive(BodyLimit(must_not_run, max_bytes=10), scope, [])
        assert sent[0]["status"] == 415
        assert headers_of(sent)[b"connection"] == b"close"

    async def test_refuses_before_anything_runs(self) -> None:
        async def must_not_run(scope: Scope, receive: Receive, send: Send) -> None:
            pytest.fail("the application ran")

        scope = http_scope(headers=[(b"content-length", b"11")])
        sent = await drive(BodyLimit(must_not_run, max_bytes=10), scope, [])
        assert sent[0]["status"] == 413
        assert headers_of(sent)[b"connection"] == b"close"

    @given(st.integers(min_value=0), st.integers(min_value=0, max_value=5000))
    async def test_understands_any_length(self, length: int, zeros: int) -> None:
        value = b"%s%d" % (b"0" * (zeros % 5), length)
        sent = await drive(
            BodyLimit(answer_ok, max_bytes=10), http_scope(headers=[(b"content-length", value)])
        )
        assert sent[0]["status"] == (200 if length <= 10 else 413)

    @pytest.mark.parametrize("length", [b"", b"-1", b"1e3", b"ten", b"\xb2", b"9" * 5000])
    async def test_refuses_what_is_no_length(self, length: bytes) -> None:
        sent = await drive(
            BodyLimit(answer_ok, max_bytes=10), http_scope(headers=[(b"content-length", length)])
        )
        assert sent[0]["status"] == (413 if length.isdigit() else 400)


class TestLingeringClose:
    async def test_lets_clients_send_all_before_they_listen(self) -> None:
        async with asyncio.timeout(PATIENCE), served(APP) as server:
            url = server.base_url
            reader, writer = await asyncio.open_connection(url.host, url.port)
            writer.write(b"POST /measure HTTP/1.1\r\nHost: localhost\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n" % FAR_TOO_MANY_BYTES)
            for part in itertools.repeat(b"a" * MAX_BYTES, FAR_TOO_MANY_BYTES // MAX_BYTES):
                writer.write(part)
                await writer.drain()
            answer = await reader.read()
            writer.close()
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"\r\nconnection: close\r\n" in answer
        assert answer.endswith(b"}")

    @pytest.mark.parametrize("limit", ["_SECONDS_TO_WAIT", "_SECONDS_TO_LINGER"])
    async def test_does_not_wait_for_ever_nor_count_the_time(
        self, limit: str, log: list[EventDict], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bodies, limit, 0.01)
        sent: list[Message] = []
        logged: list[int] = []

        async def receive() -> Message:
            logged.append(len(log))
            # The client either says nothing any more, or does not come to an end.
            await asyncio.sleep(PATIENCE if limit == "_SECONDS_TO_WAIT" else 0)
            return {"type": "http.request", "body": b"a", "more_body": True}

        async def send(message: Message) -> None:
            sent.append(message)

        length = (b"content-length", b"%d" % FAR_TOO_MANY_BYTES)
        await APP(http_scope(method="POST", headers=[length]), receive, send)
        kinds = ["http.response.start", "http.response.body", "http.response.body"]
        assert [message["type"] for message in sent] == kinds
        assert sent[0]["status"] == 413
        assert [message.get("more_body", False) for message in sent[1:]] == [True, False]
        assert set(logged) == {1}, "the time that this takes is in the request's line"

    async def test_does_not_wait_for_a_body_that_was_read_in_the_meantime(self) -> None:
        async def answer_and_read(scope: Scope, receive: Receive, send: Send) -> None:
            headers = [(b"connection", b"close")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await receive()
            await send({"type": "http.response.body"})

        sent = await drive(LingeringClose(answer_and_read), http_scope(method="POST"))
        kinds = ["http.response.start", "http.response.body"]
        assert [message["type"] for message in sent] == kinds


class TestBodyLimitOfAPath:
    @pytest.mark.parametrize(("path", "status"), [("/large", 200), ("/other", 413)])
    async def test_is_its_own(self, path: str, status: int) -> None:
        layer = BodyLimit(read_all, max_bytes=10, of_paths={"/large": 20})
        scope = http_scope(method="POST", path=path, headers=[(b"content-length", b"20")])
        sent = await drive(layer, scope, [{"type": "http.request", "body": b"a" * 20}])
        assert sent[0]["status"] == status

    @pytest.mark.parametrize(
        ("app", "header", "closes"),
        [
            ("all", (b"transfer-encoding", b"chunked"), False),
            ("nothing", (b"transfer-encoding", b"chunked"), True),
            ("nothing", (b"content-length", b"2"), True),
            ("nothing", (b"content-length", b"0"), False),
            ("nothing", (b"accept", b"*/*"), False),
        ],
    )
    async def test_closes_the_connection_of_a_body_that_is_not_read(
        self, app: str, header: tuple[bytes, bytes], closes: bool
    ) -> None:
        layer = BodyLimit(
            read_all if app == "all" else answer_ok, max_bytes=10, of_paths={"/large": 20}
        )
        scope = http_scope(method="POST", path="/large", headers=[header])
        body = [
            {"type": "http.request", "body": b"a", "more_body": True},
            {"type": "http.request", "body": b"a", "more_body": False},
        ]
        sent = await drive(layer, scope, body)
        assert (headers_of(sent).get(b"connection") == b"close") is closes


class TestHead:
    async def test_is_known_to_routes_so_that_they_need_not_fetch_a_body(self) -> None:
        seen: list[bool] = []

        async def look(scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(is_head(scope))
            await answer_ok(scope, receive, send)

        for method in ("HEAD", "GET"):
            await drive(HeadAsGet(look), http_scope(method=method))
        assert seen == [True, False]

    @pytest.mark.parametrize("path", ["/live", "/api/v1/items/3", "/openapi.json", "/nowhere"])
    async def test_has_the_headers_of_get_and_no_body(self, api: AsyncClient, path: str) -> None:
        def same(response: Response) -> dict[str, str]:
            own = {"x-request-id", "x-process-time"}
            return {name: value for name, value in response.headers.items() if name not in own}

        get, head = await api.get(path), await api.head(path)
        assert head.status_code == get.status_code
        assert head.content == b""
        assert same(head) == same(get)

    async def test_needs_a_get(self, api: AsyncClient) -> None:
        assert (await api.head("/measure")).status_code == 405

    async def test_keeps_the_servers_scope_as_it_is(self) -> None:
        scope = http_scope(method="HEAD")
        await drive(HeadAsGet(answer_ok), scope)
        assert scope["method"] == "HEAD"


class TestCompression:
    def layer(
        self,
        *bodies: bytes,
        content_type: bytes = b"application/json",
        others: tuple[tuple[bytes, bytes], ...] = (),
    ) -> Compression:
        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            headers = [(b"content-type", content_type), *others]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            for number, body in enumerate(bodies, start=1):
                more = number < len(bodies)
                await send({"type": "http.response.body", "body": body, "more_body": more})

        return Compression(answer, minimum_size=1000)

    async def run(
        self, layer: Compression, *, method: str = "GET", accept: bytes = b"gzip, br"
    ) -> tuple[dict[bytes, bytes], list[bytes]]:
        scope = http_scope(method=method, headers=[(b"accept-encoding", accept)])
        sent = await drive(layer, scope)
        return headers_of(sent), [message["body"] for message in sent[1:]]

    async def test_makes_large_answers_small(self) -> None:
        headers, bodies = await self.run(self.layer(BIG.encode()))
        assert headers[b"content-encoding"] == b"gzip"
        assert headers[b"vary"] == b"Accept-Encoding"
        assert int(headers[b"content-length"]) == len(bodies[0]) < 100
        assert gzip.decompress(bodies[0]) == BIG.encode()

    async def test_leaves_alone_what_can_be_had_in_ranges(self) -> None:
        ranged = self.layer(b"one", BIG.encode(), others=((b"accept-ranges", b"bytes"),))
        headers, bodies = await self.run(ranged)
        assert b"content-encoding" not in headers
        assert bodies == [b"one", BIG.encode()]

    async def test_sends_each_part_of_a_stream_at_once(self) -> None:
        headers, bodies = await self.run(self.layer(b"one", b"two", b""))
        assert headers[b"content-encoding"] == b"gzip"
        assert len(bodies) == 3
        assert all(bodies)
        assert gzip.decompress(b"".join(bodies)) == b"onetwo"

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
    async def test_leaves_alone_what_may_be_a_token(self, method: str) -> None:
        headers, bodies = await self.run(self.layer(BIG.encode()), method=method)
        assert b"content-encoding" not in headers
        assert bodies == [BIG.encode()]

    async def test_leaves_alone_what_is_small(self) -> None:
        headers, bodies = await self.run(self.layer(b"a" * 999))
        assert b"content-encoding" not in headers
        assert headers[b"vary"] == b"Accept-Encoding"
        assert bodies == [b"a" * 999]

    @pytest.mark.parametrize("accept", [b"GZIP", b"br;q=0.1, GZip ; Q=0.5"])
    async def test_is_asked_for_in_any_case(self, accept: bytes) -> None:
        headers, _ = await self.run(self.layer(BIG.encode()), accept=accept)
        assert headers[b"content-encoding"] == b"gzip"

    @pytest.mark.parametrize(
        "accept", [b"br", b"gzip;q=0", b"br, gzip; q=0.000", b"GZIP;Q=0", b"gzipped"]
    )
    async def test_is_for_those_who_ask_for_it(self, accept: bytes) -> None:
        headers, bodies = await self.run(self.layer(BIG.encode()), accept=accept)
        assert b"content-encoding" not in headers
        assert headers[b"vary"] == b"Accept-Encoding"
        assert bodies == [BIG.encode()]

    @pytest.mark.parametrize("content_type", [b"text/event-stream", b"image/png"])
    async def test_leaves_alone_what_does_not_gain(self, content_type: bytes) -> None:
        layer = self.layer(BIG.encode(), b"", content_type=content_type)
        headers, bodies = await self.run(layer)
        assert b"content-encoding" not in headers
        assert bodies == [BIG.encode(), b""]

    async def test_leaves_alone_what_may_be_fetched_in_ranges(self) -> None:
        layer = self.layer(BIG.encode(), others=((b"accept-ranges", b"bytes"),))
        headers, bodies = await self.run(layer)
        assert headers.keys() & {b"content-encoding", b"vary"} == set()
        assert bodies == [BIG.encode()]


class TestErrorBoundary:
    async def test_answers_with_a_problem_that_tells_nothing(self, api: AsyncClient) -> None:
        response = await api.get("/fail")
        assert response.status_code == 500
        assert response.json()["code"] == "internal_error"
        assert "hunter2" not in response.text
        assert "RuntimeError" not in response.text

    async def test_logs_the_error_once_with_request_and_trace(
        self, api: AsyncClient, log: list[EventDict]
    ) -> None:
        response = await api.get("/fail")
        error, line = log
        assert error["log_level"] == "error"
        assert isinstance(error["exc_info"], RuntimeError)
        assert error["exc_info"].__traceback__ is not None
        assert (error["method"], error["path"]) == ("GET", "/fail")
        assert error["request_id"] == response.headers["x-request-id"]
        assert "user_id" in error
        assert (line["event"], line["status"]) == ("request", 500)

    async def test_breaks_off_an_answer_that_has_begun(self, log: list[EventDict]) -> None:
        with pytest.raises(LoggedError) as raised:
            await drive(APP, http_scope("/fail-half-way"))
        assert str(raised.value.__cause__) == "the other half"
        assert [line["event"] for line in log] == ["unexpected error", "request"]
        assert log[-1]["code"] == "internal_error"

    async def test_tells_an_error_from_the_outage_that_it_came_of(
        self, log: list[EventDict]
    ) -> None:
        with pytest.raises(LoggedError, match="KeyError"):
            await drive(APP, http_scope("/lost-half-way"))
        assert [line["event"] for line in log] == ["unexpected error", "request"]

    async def test_breaks_off_where_something_is_unavailable(self, log: list[EventDict]) -> None:
        with pytest.raises(LoggedError):
            await drive(APP, http_scope("/unavailable-half-way"))
        assert [(line["event"], line["code"]) for line in log] == [
            ("unavailable", "database_unavailable"),
            ("request", "database_unavailable"),
        ]
        assert log[0]["facts"] == {"reason": "the connection was lost"}

    async def test_an_error_outside_of_it_is_a_problem_all_the_same(self) -> None:
        app = build()
        app.user_middleware = [one for one in app.user_middleware if name_of(one) == "RequestLog"]
        async with client(app) as api:
            response = await api.get("/fail")
        assert response.json()["code"] == "internal_error"

    async def test_a_client_that_left_is_no_error(self, log: list[EventDict]) -> None:
        async def left(scope: Scope, receive: Receive, send: Send) -> None:
            raise ClientDisconnect

        assert await drive(ErrorBoundary(left), http_scope()) == []
        assert log == []


class TestOtherProtocols:
    async def test_have_an_id_and_a_line_as_well(self, log: list[EventDict]) -> None:
        async def accepting(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "socket.accept"})
            await send({"type": "socket.send", "text": "hello"})

        scope = {"type": "socket", "path": "/hello", "headers": [(b"x-request-id", b"abc")]}
        accepted, said = await drive(RequestLog(accepting), scope)

        assert accepted["headers"] == [(b"x-request-id", b"abc")]
        assert "headers" not in said
        [line] = log
        assert (line["method"], line["status"], line["request_id"]) == ("SOCKET", 101, "abc")

    async def test_are_logged_when_they_fail_and_left_to_the_server(
        self, log: list[EventDict]
    ) -> None:
        async def broken(scope: Scope, receive: Receive, send: Send) -> None:
            raise RuntimeError

        scope = {"type": "socket", "path": "/hello", "headers": []}
        with pytest.raises(LoggedError):
            await drive(ErrorBoundary(broken), scope)
        assert log[0]["event"] == "unexpected error"

    def test_the_lifespan_passes(self) -> None:
        seen: list[str] = []

        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[None]:
            seen.append("up")
            yield
            seen.append("down")

        app = FastAPI(middleware=middleware(Settings()), lifespan=lifespan)
        with TestClient(app):
            assert seen == ["up"]
        assert seen == ["up", "down"]
