"""The middleware of every request."""

import asyncio
import gzip
import itertools
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
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
from starlette.types import Message, Receive, Scope, Send
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs
from structlog.typing import EventDict
from uvicorn.protocols.utils import ClientDisconnected

from app.core.config import HttpSettings
from app.core.errors import DatabaseUnavailable
from app.core.logging import LoggedError
from app.infrastructure.database.statistics import statistics
from app.infrastructure.http import bodies
from app.infrastructure.http.bodies import BodyLimit, Compression
from app.infrastructure.http.context import identify, is_head
from app.infrastructure.http.handlers import add_exception_handlers
from app.infrastructure.http.middleware import (
    ErrorBoundary,
    RequestMiddleware,
    TrustedHosts,
    UnambiguousRequests,
    middleware,
)
from tests.support.serving import served
from tests.support.waiting import PATIENCE

MAX_BYTES = 1024
TINY = HttpSettings.model_construct(max_body_bytes=10)
FAR_TOO_MANY_BYTES = 8 * 1024 * 1024  # more than the kernel buffers
BIG = "a" * 5000
SHARED = PlainTextResponse("always the same object")
PAGE = "https://app.example.com"

things = APIRouter(prefix="/things")
v1 = APIRouter(prefix="/api/v1")


@things.get("/{thing_id}")
async def get_thing(thing_id: int) -> int:
    return thing_id


v1.include_router(things)


async def fail() -> None:
    raise RuntimeError("database://app:hunter2@database")


async def fail_half_way() -> StreamingResponse:
    error = RuntimeError("the other half")
    error.__cause__ = DatabaseUnavailable()  # which must not hide the error that it caused
    return half(error)


async def unavailable_half_way() -> StreamingResponse:
    return half(DatabaseUnavailable(reason="the connection was lost"))


def half(error: Exception) -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b"half"
        raise error

    return StreamingResponse(parts())


async def log_a_line(request: Request) -> None:
    identify(request, UUID(int=7), session_id=UUID(int=8))
    structlog.stdlib.get_logger().info("inside")
    structlog.contextvars.bind_contextvars(thing_id=9)


async def ask_the_database() -> None:
    account = statistics.get()
    assert account is not None
    account.statements += 3
    account.seconds += 0.25


async def get_shared() -> PlainTextResponse:
    return SHARED


async def get_liveness() -> str:
    return "alive"


async def measure_body(request: Request) -> int:
    return len(await request.body())


def build(cors_origins: Sequence[str] = (), **http: Any) -> FastAPI:
    settings = HttpSettings(**{"max_body_bytes": MAX_BYTES} | http)
    app = FastAPI(middleware=middleware(settings, cors_origins=cors_origins))
    add_exception_handlers(app)
    app.include_router(v1)
    routes: dict[str, Callable[..., Any]] = {
        "/fail": fail,
        "/fail-half-way": fail_half_way,
        "/unavailable-half-way": unavailable_half_way,
        "/log": log_a_line,
        "/database": ask_the_database,
        "/shared": get_shared,
        "/live": get_liveness,
    }
    for path, endpoint in routes.items():
        app.add_api_route(path, endpoint, response_model=None)
    app.add_api_route("/measure", measure_body, methods=["POST"])
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
    with capture_logs(processors=[merge_contextvars]) as lines:
        yield lines


async def drive(
    app: Any, scope: Scope, received: Sequence[Message] = ({"type": "http.request"},)
) -> list[Message]:
    """Run an ASGI application and return what it sends."""
    waiting = list(received)
    sent: list[Message] = []

    async def receive() -> Message:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


HOST = (b"host", b"api.example.com")


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
        "headers": [*headers] if b"host" in dict(headers) else [HOST, *headers],
        "client": client,
        "server": ("api.example.com", 80),
    }


def answering(
    *chunks: bytes, status: int = 200, headers: Sequence[tuple[bytes, bytes]] = ()
) -> Any:
    """Return an ASGI application that sends these chunks without reading anything."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": [*headers]})
        for number, chunk in enumerate(chunks, start=1):
            more = number < len(chunks)
            await send({"type": "http.response.body", "body": chunk, "more_body": more})

    return app


OK = answering(b"ok")


async def read_all(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond after reading the whole body."""
    while (await receive()).get("more_body", False):
        pass
    await OK(scope, receive, send)


async def must_not_run(scope: Scope, receive: Receive, send: Send) -> None:
    pytest.fail("the application ran")


def name_of(layer: Middleware) -> str:
    name: str = getattr(layer.cls, "__name__")  # noqa: B009 - a factory need not have one
    return name


def headers_of(sent: list[Message]) -> dict[bytes, bytes]:
    return dict(sent[0]["headers"])


class TestOrder:
    def test_applies_headers_and_log_to_refusals(self) -> None:
        settings = HttpSettings(trusted_hosts=["api.example.com"])
        names = [name_of(layer) for layer in middleware(settings, cors_origins=[PAGE])]
        assert names == [
            "ProxyHeadersMiddleware",
            "RequestMiddleware",
            "TrustedHosts",
            "Cors",
            "UnambiguousRequests",
            "BodyLimit",
            "Compression",
            "ErrorBoundary",
        ]
        fewer = {name_of(layer) for layer in middleware(HttpSettings())}
        assert set(names) - fewer == {"TrustedHosts", "Cors"}


class TestRequestId:
    @given(st.from_regex(r"[A-Za-z0-9._-]{1,128}", fullmatch=True))
    async def test_is_the_clients_if_well_formed(self, request_id: str) -> None:
        scope = http_scope(headers=[(b"x-request-id", request_id.encode())])
        sent = await drive(RequestMiddleware(OK), scope)
        assert headers_of(sent)[b"x-request-id"] == request_id.encode()

    @given(
        st.binary(max_size=200).filter(
            lambda value: not re.fullmatch(rb"[A-Za-z0-9._-]{1,128}", value)
        )
    )
    async def test_is_a_new_one_if_the_clients_is_malformed(self, request_id: bytes) -> None:
        scope = http_scope(headers=[(b"x-request-id", request_id)])
        sent = await drive(RequestMiddleware(OK), scope)
        assert UUID(headers_of(sent)[b"x-request-id"].decode()).version == 7


class TestAccessLog:
    async def test_has_one_line_for_each_request(
        self, api: AsyncClient, log: list[EventDict]
    ) -> None:
        response = await api.get("/api/v1/things/3?secret=1", headers={"X-Request-ID": "abc"})
        assert response.json() == 3
        [line] = log
        assert line.pop("duration_ms") > 0
        assert line == {
            "event": "request",
            "log_level": "info",
            "method": "GET",
            "route": "/api/v1/things/{thing_id}",
            "status": 200,
            "request_id": "abc",
            "client": "203.0.113.9",
        }

    async def test_names_the_whole_template_of_the_route(
        self, api: AsyncClient, log: list[EventDict]
    ) -> None:
        routes = {
            "/api/v1/things/3": "/api/v1/things/{thing_id}",
            "/api/v1/things/no-number": "/api/v1/things/{thing_id}",
            "/live": "/live",
            "/openapi.json": "/openapi.json",
            "/nowhere": None,
        }
        for path in routes:
            await api.get(path)
        assert [line["route"] for line in log] == list(routes.values())

    async def test_names_the_path_of_a_failure(
        self, api: AsyncClient, log: list[EventDict]
    ) -> None:
        for path in ("/api/v1/things/3", "/api/v1/things/no-number?secret=1", "/nowhere?secret=1"):
            await api.get(path)
        paths = [line.get("path") for line in log]
        assert paths == [None, "/api/v1/things/no-number", "/nowhere"]
        assert {type(line["status"]) for line in log} == {int}

    async def test_names_the_user_and_bound_fields(
        self, api: AsyncClient, log: list[EventDict]
    ) -> None:
        await api.head("/log", headers={"X-Request-ID": "abc"})
        assert (log[0]["request_id"], log[0]["user_id"]) == ("abc", str(UUID(int=7)))
        assert (log[-1]["method"], log[-1]["route"]) == ("HEAD", "/log")
        assert (log[-1]["user_id"], log[-1]["session_id"]) == (str(UUID(int=7)), str(UUID(int=8)))
        assert log[-1]["thing_id"] == 9
        assert structlog.contextvars.get_contextvars() == {}
        assert "api_key_id" not in log[-1]

    async def test_counts_statements_and_their_time(
        self, api: AsyncClient, log: list[EventDict]
    ) -> None:
        await api.get("/database")
        assert (log[-1]["statements"], log[-1]["database_ms"]) == (3, 250.0)

    async def test_has_a_line_for_a_cancelled_request(self, log: list[EventDict]) -> None:
        async def cancelled(scope: Scope, receive: Receive, send: Send) -> None:
            raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            await drive(RequestMiddleware(cancelled), http_scope())
        assert log[-1]["status"] is None

    async def test_has_a_line_for_other_protocols(self, log: list[EventDict]) -> None:
        scope = {"type": "socket", "path": "/hello", "headers": [(b"x-request-id", b"abc")]}
        await drive(RequestMiddleware(OK), scope)
        [line] = log
        assert (line["method"], line["client"], line["request_id"]) == ("SOCKET", None, "abc")

    async def test_takes_the_client_from_a_trusted_proxy(self, log: list[EventDict]) -> None:
        forwarded = {"X-Forwarded-For": "198.51.100.1"}
        async with client(APP, address="127.0.0.1") as proxy:
            await proxy.get("/live", headers=forwarded)
        async with client(APP) as stranger:
            await stranger.get("/live", headers=forwarded)
        assert [line["client"] for line in log] == ["198.51.100.1", "203.0.113.9"]


class TestResponseHeaders:
    async def test_are_on_every_response(self, api: AsyncClient) -> None:
        for path in ("/live", "/nowhere", "/fail"):
            headers = (await api.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert "content-security-policy" not in headers, "only on what browsers render"
            assert 0 < float(headers["x-process-time"]) < 60

    async def test_include_those_of_rendered_content_unless_it_is_json(
        self, api: AsyncClient
    ) -> None:
        await api.get("/shared")
        headers = (await api.get("/shared")).headers
        assert len(headers.get_list("x-frame-options")) == 1, "the response is sent again"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert "camera=()" in headers["permissions-policy"]
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-resource-policy"] == "same-origin"

    async def test_forbid_storing_unless_caches_do_not_by_default(self) -> None:
        for status, value in {200: b"no-store", 404: b"no-store", 201: None, 429: None}.items():
            sent = await drive(RequestMiddleware(answering(b"", status=status)), http_scope())
            assert headers_of(sent).get(b"cache-control") == value

    async def test_leave_the_cache_control_of_a_route_alone(self) -> None:
        cacheable = answering(b"", headers=[(b"cache-control", b"public")])
        sent = await drive(RequestMiddleware(cacheable), http_scope())
        values = [value for name, value in sent[0]["headers"] if name == b"cache-control"]
        assert values == [b"public"]

    async def test_name_no_type_of_no_content(self) -> None:
        sent = await drive(RequestMiddleware(JSONResponse(None, 204)), http_scope())
        assert b"content-type" not in headers_of(sent)

    async def test_require_https_in_production_only(self) -> None:
        production, development = (
            next(
                layer
                for layer in middleware(HttpSettings(), production=is_production)
                if name_of(layer) == "RequestMiddleware"
            )
            for is_production in (True, False)
        )
        for layer, value in (
            (production, b"max-age=31536000; includeSubDomains"),
            (development, None),
        ):
            app: Any = layer.cls(OK, *layer.args, **layer.kwargs)
            sent = await drive(app, http_scope())
            assert headers_of(sent).get(b"strict-transport-security") == value


labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


class TestTrustedHosts:
    layer = TrustedHosts(OK, ["api.example.com", "*.example.org", "::1"])

    async def status(self, *hosts: bytes, path: str = "/measure") -> int:
        scope = {**http_scope(path), "headers": [(b"host", host) for host in hosts]}
        return int((await drive(self.layer, scope))[0]["status"])

    async def test_are_served(self) -> None:
        for host in (
            b"api.example.com",
            b"API.Example.COM",
            b"api.example.com:8443",
            b"[::1]:8000",
            b"a.example.org",
            b"a.b.example.org",
        ):
            assert await self.status(host) == 200, host

    async def test_others_are_refused(self) -> None:
        for host in (
            b"",
            b"example.com",
            b"example.org",
            b"notexample.org",
            b"api.example.com.evil.net",
            b"api.example.com:port",
            b"api.example.com@evil.net",
            b"api.example.com/evil",
            b"api.example.com\n",
        ):
            assert await self.status(host) == 400, host
        assert await self.status() == 400
        assert await self.status(b"api.example.com", b"api.example.com") == 400

    @given(labels)
    async def test_every_name_under_a_wildcard_is_served(self, label: str) -> None:
        assert await self.status(f"{label}.example.org".encode()) == 200

    @given(st.binary(max_size=60))
    async def test_odd_headers_do_not_break_it(self, host: bytes) -> None:
        assert await self.status(host) in {200, 400}

    async def test_a_probe_may_ask_by_address(self) -> None:
        for path in ("/health", "/live", "/ready"):
            assert await self.status(b"10.0.0.7:8000", path=path) == 200

    async def test_the_refusal_is_a_problem(self) -> None:
        async with client(build(trusted_hosts=["other.example.com"])) as api:
            response = await api.get("/shared")
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["code"] == "invalid_host"


PREFLIGHT = {"Origin": PAGE, "Access-Control-Request-Method": "PATCH"}


class TestCors:
    @pytest.fixture
    async def api(self) -> AsyncIterator[AsyncClient]:
        async with client(build(cors_origins=[PAGE])) as opened:
            yield opened

    async def test_permits_the_origins_that_are_named(self, api: AsyncClient) -> None:
        asked = {"Access-Control-Request-Headers": "authorization,if-match"}
        response = await api.options("/api/v1/things/3", headers=PREFLIGHT | asked)
        assert response.status_code == 200
        assert response.headers["access-control-allow-origin"] == PAGE
        assert "PATCH" in response.headers["access-control-allow-methods"]

    async def test_refuses_anything_else_with_a_problem(self, api: AsyncClient) -> None:
        for change in (
            {"Origin": "https://evil.example.com"},
            {"Access-Control-Request-Method": "TRACE"},
            {"Access-Control-Request-Headers": "x-evil"},
        ):
            response = await api.options("/api/v1/things/3", headers=PREFLIGHT | change)
            assert response.status_code == 400
            assert response.headers["content-type"] == "application/problem+json"
            assert response.json()["code"] == "cors_refused"

    async def test_lets_pages_read_responses_and_their_headers(self, api: AsyncClient) -> None:
        for path in ("/live", "/fail", "/nowhere"):
            response = await api.get(path, headers={"Origin": PAGE})
            assert response.headers["access-control-allow-origin"] == PAGE
            exposed = response.headers["access-control-expose-headers"].split(", ")
            assert {"ETag", "Location", "RateLimit", "Retry-After", "X-Request-ID"} <= set(exposed)

    async def test_keeps_responses_from_other_pages(self, api: AsyncClient) -> None:
        response = await api.get("/live", headers={"Origin": "https://evil.example.com"})
        assert "access-control-allow-origin" not in response.headers

    async def test_leaves_other_options_requests_to_the_route(self, api: AsyncClient) -> None:
        response = await api.options("/live")
        assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD")


CHUNKED = (b"transfer-encoding", b"chunked")


class TestUnambiguousRequests:
    @pytest.mark.parametrize(
        "name",
        [
            "authorization",
            "content-type",
            "device-token",
            "host",
            "if-match",
            "if-none-match",
            "if-range",
            "range",
        ],
    )
    async def test_have_each_header_of_one_value_once(self, name: str) -> None:
        header = (name.encode(), b"a")
        for headers, status in (([header], 200), ([header, header], 400)):
            sent = await drive(UnambiguousRequests(OK), http_scope(headers=headers))
            assert sent[0]["status"] == status

    @pytest.mark.parametrize(("version", "status"), [("1.0", 200), ("1.1", 400)])
    async def test_have_a_host_since_http_1_1(self, version: str, status: int) -> None:
        scope = {**http_scope(), "headers": [], "http_version": version}
        sent = await drive(UnambiguousRequests(OK), scope)
        assert sent[0]["status"] == status

    async def test_have_a_version_that_the_server_speaks(self) -> None:
        sent = await drive(
            UnambiguousRequests(must_not_run), {**http_scope(), "http_version": "2.0"}
        )
        assert sent[0]["status"] == 505

    @pytest.mark.parametrize("path", ["*", "", "/live\n", "/a\x00", "/a\x7f"])
    async def test_have_a_path_that_routes_can_have(self, path: str) -> None:
        sent = await drive(UnambiguousRequests(must_not_run), http_scope(path))
        assert sent[0]["status"] == 404


class TestBodyLimit:
    @given(st.integers(min_value=0, max_value=3 * MAX_BYTES))
    async def test_applies_to_an_announced_length(self, size: int) -> None:
        async with client(APP) as api:
            response = await api.post("/measure", content=b"a" * size)
        assert response.status_code == (200 if size <= MAX_BYTES else 413)

    @given(st.lists(st.binary(max_size=600), max_size=6))
    @example([b"a" * MAX_BYTES, b"a"])
    @example([b"a" * MAX_BYTES, b""])
    async def test_applies_to_chunked_bodies(self, parts: list[bytes]) -> None:
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

    async def test_is_not_fooled_by_a_wrong_length(self) -> None:
        scope = http_scope(method="POST", headers=[(b"content-length", b"1")])
        body = {"type": "http.request", "body": b"a" * (MAX_BYTES + 1)}
        sent = await drive(APP, scope, [body])
        assert sent[0]["status"] == 413

    async def test_refuses_encoded_bodies(self) -> None:
        for encoding, status in {
            "gzip": 415,
            "Identity": 200,
            "": 200,
            "br, identity": 415,
        }.items():
            async with client(APP) as api:
                headers = {"Content-Encoding": encoding}
                response = await api.post("/measure", content=b"a", headers=headers)
                empty = await api.post("/measure", headers=headers)
            assert response.status_code == status
            accepted = "identity" if status == 415 else None
            assert response.headers.get("accept-encoding") == accepted
            assert empty.status_code == 200

    async def test_refuses_before_anything_runs(self) -> None:
        encoded = (b"content-encoding", b"gzip")
        for method, headers, status in (
            ("GET", [(b"content-length", b"11")], 413),
            ("POST", [(b"content-length", b"5"), encoded], 415),
            ("POST", [CHUNKED, encoded], 415),
        ):
            scope = http_scope(method=method, headers=headers)
            sent = await drive(BodyLimit(must_not_run, TINY), scope, [])
            assert sent[0]["status"] == status
            assert headers_of(sent)[b"connection"] == b"close"

    @pytest.mark.parametrize(
        ("coding", "version", "status"),
        [
            (b"Chunked", "1.1", 200),
            (b"gzip, chunked", "1.1", 501),
            (b"identity", "1.1", 501),
            (b"chunked", "1.0", 400),
        ],
    )
    async def test_refuses_unknown_transfer_codings(
        self, coding: bytes, version: str, status: int
    ) -> None:
        headers = [(b"transfer-encoding", coding)]
        scope = {**http_scope(method="POST", headers=headers), "http_version": version}
        sent = await drive(BodyLimit(OK, TINY), scope)
        assert sent[0]["status"] == status

    async def test_refuses_an_invalid_length(self) -> None:
        lengths = {b"010": 200, b"": 400, b"-1": 400, b"1e3": 400, b"\xb2": 400, b"9" * 5000: 413}
        for length, status in lengths.items():
            scope = http_scope(method="POST", headers=[(b"content-length", length)])
            sent = await drive(BodyLimit(OK, TINY), scope)
            assert sent[0]["status"] == status

    async def test_can_differ_by_path(self) -> None:
        layer = BodyLimit(read_all, TINY, of_paths={"/large": 20})
        for path, status in {"/large": 200, "/other": 413}.items():
            scope = http_scope(path, method="POST", headers=[(b"content-length", b"20")])
            sent = await drive(layer, scope, [{"type": "http.request", "body": b"a" * 20}])
            assert sent[0]["status"] == status

    async def test_closes_the_connection_of_an_unread_body_with_a_limit_of_its_own(self) -> None:
        body = [
            {"type": "http.request", "body": b"a", "more_body": True},
            {"type": "http.request", "body": b"a", "more_body": False},
        ]
        for app, header, closes in (
            (read_all, CHUNKED, False),
            (OK, CHUNKED, True),
            (OK, (b"content-length", b"2"), True),
            (OK, (b"content-length", b"0"), False),
            (OK, (b"accept", b"*/*"), False),
        ):
            layer = BodyLimit(app, TINY, of_paths={"/large": 20})
            scope = http_scope("/large", method="POST", headers=[header])
            sent = await drive(layer, scope, body)
            assert (headers_of(sent).get(b"connection") == b"close") is closes


class TestDrain:
    async def test_lets_clients_send_the_whole_body_before_they_read(self) -> None:
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

    async def test_ends_after_a_while(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bodies, "_DRAIN_SECONDS", 0.01)
        sent: list[Message] = []

        async def receive() -> Message:
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Message) -> None:
            sent.append(message)

        length = (b"content-length", b"%d" % FAR_TOO_MANY_BYTES)
        await APP(http_scope(method="POST", headers=[length]), receive, send)
        assert sent[0]["status"] == 413
        assert [message.get("more_body", False) for message in sent[1:]] == [True, False]

    async def test_is_not_needed_for_a_body_that_was_read_in_the_meantime(self) -> None:
        async def answer_and_read(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await receive()
            await send({"type": "http.response.body"})

        layer = BodyLimit(answer_and_read, TINY, of_paths={"/large": 20})
        sent = await drive(layer, http_scope("/large", method="POST", headers=[CHUNKED]))
        kinds = ["http.response.start", "http.response.body"]
        assert [message["type"] for message in sent] == kinds


class TestHead:
    async def test_is_known_to_routes(self) -> None:
        seen: list[bool] = []

        async def look(scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(is_head(scope))
            await OK(scope, receive, send)

        for method in ("HEAD", "GET"):
            await drive(RequestMiddleware(look), http_scope(method=method))
        assert seen == [True, False]

    async def test_has_the_headers_of_get_and_no_body(self, api: AsyncClient) -> None:
        def same(response: Response) -> dict[str, str]:
            own = {"x-request-id", "x-process-time"}
            return {name: value for name, value in response.headers.items() if name not in own}

        for path in ("/live", "/api/v1/things/3", "/openapi.json", "/nowhere"):
            get, head = await api.get(path), await api.head(path)
            assert head.status_code == get.status_code
            assert head.content == b""
            assert same(head) == same(get)

    async def test_keeps_the_servers_scope_as_it_is(self) -> None:
        scope = http_scope(method="HEAD")
        await drive(RequestMiddleware(OK), scope)
        assert scope["method"] == "HEAD"


class TestCompression:
    async def run(
        self,
        *chunks: bytes,
        headers: Sequence[tuple[bytes, bytes]] = (),
        method: str = "GET",
        accept: bytes = b"gzip, br",
        content_type: bytes = b"application/json",
    ) -> tuple[dict[bytes, bytes], list[bytes]]:
        own = [] if len(chunks) > 1 else [(b"content-length", b"%d" % len(chunks[0]))]
        app = answering(*chunks, headers=[(b"content-type", content_type), *own, *headers])
        scope = http_scope(method=method, headers=[(b"accept-encoding", accept)])
        sent = await drive(Compression(app), scope)
        return headers_of(sent), [message["body"] for message in sent[1:]]

    async def test_compresses_large_responses(self) -> None:
        for accept in (b"gzip, br", b"GZIP", b"br;q=0.1, GZip ; Q=0.5"):
            headers, bodies = await self.run(BIG.encode(), accept=accept)
            assert headers[b"content-encoding"] == b"gzip"
            assert headers[b"vary"] == b"Accept-Encoding"
            assert int(headers[b"content-length"]) == len(bodies[0]) < 100
            assert gzip.decompress(bodies[0]) == BIG.encode()

    async def test_sends_each_part_of_a_stream_at_once(self) -> None:
        headers, bodies = await self.run(b"one", b"two", b"")
        assert headers[b"content-encoding"] == b"gzip"
        assert len(bodies) == 3
        assert all(bodies)
        assert gzip.decompress(b"".join(bodies)) == b"onetwo"

    async def test_leaves_everything_else_alone(self) -> None:
        big = BIG.encode()
        for chunks, how in (
            ([big], {"method": "POST"}),
            ([b"a" * 1023], {}),
            ([big], {"headers": [(b"accept-ranges", b"bytes")]}),
            ([b"one", big], {"headers": [(b"accept-ranges", b"bytes")]}),
            ([big], {"content_type": b"image/png"}),
            ([big, b""], {"content_type": b"text/event-stream"}),
            *(
                ([big], {"accept": accept})
                for accept in (b"br", b"gzip;q=0", b"br, gzip; q=0.000", b"GZIP;Q=0", b"gzipped")
            ),
        ):
            headers, sent = await self.run(*chunks, **how)  # type: ignore[arg-type]
            assert headers.keys() & {b"content-encoding", b"vary"} == set(), how
            assert sent == chunks, how


class TestErrorBoundary:
    async def test_answers_with_a_problem_without_details(self, api: AsyncClient) -> None:
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
        assert (line["event"], line["status"]) == ("request", 500)

    async def test_aborts_a_started_response(self, log: list[EventDict]) -> None:
        with pytest.raises(LoggedError) as raised:
            await drive(APP, http_scope("/fail-half-way"))
        assert str(raised.value.__cause__) == "the other half"
        assert [line["event"] for line in log] == ["unexpected error", "request"]
        assert log[-1]["code"] == "internal_error"

    async def test_aborts_a_response_if_a_dependency_fails(self, log: list[EventDict]) -> None:
        with pytest.raises(LoggedError):
            await drive(APP, http_scope("/unavailable-half-way"))
        assert [(line["event"], line["code"]) for line in log] == [
            ("unavailable", "database_unavailable"),
            ("request", "database_unavailable"),
        ]
        assert log[0]["details"] == {"reason": "the connection was lost"}

    async def test_is_not_needed_for_an_error_outside_of_it(self) -> None:
        app = build()
        app.user_middleware = [
            each for each in app.user_middleware if name_of(each) == "RequestMiddleware"
        ]
        async with client(app) as api:
            response = await api.get("/fail")
        assert response.json()["code"] == "internal_error"

    async def test_ignores_a_disconnected_client(self, log: list[EventDict]) -> None:
        for error in (ClientDisconnect, ClientDisconnected):

            async def left(scope: Scope, receive: Receive, send: Send) -> None:
                raise error  # noqa: B023 - it is called at once

            assert await drive(ErrorBoundary(left), http_scope()) == []
        assert log == []

    async def test_leaves_other_protocols_to_the_server(self, log: list[EventDict]) -> None:
        async def broken(scope: Scope, receive: Receive, send: Send) -> None:
            raise RuntimeError

        scope = {"type": "socket", "path": "/hello", "headers": []}
        with pytest.raises(LoggedError):
            await drive(ErrorBoundary(broken), scope)
        assert log[0]["event"] == "unexpected error"
