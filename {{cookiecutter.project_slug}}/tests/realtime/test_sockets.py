"""WebSockets over real sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import Delete, Update, delete, update
from structlog.testing import capture_logs
from structlog.typing import EventDict
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from app import models
from app.config import Settings
from app.core.clock import utc_now
from app.core.config import RateLimitSettings
from app.domain.auth import Principal
from app.domain.realtime import LOBBY
from app.infrastructure.limits import RateLimiter
from app.infrastructure.realtime import Hub, server
from app.infrastructure.realtime.server import uvicorn_options
from app.main import create_app
from app.services.realtime import ConnectionGuard
from tests.support.arrange import Account, Arrange, bearer
from tests.support.metrics_plugin import Measured, until
from tests.support.resources import replaced
from tests.support.serving import LiveServer, live
from tests.support.sockets import (
    PATH,
    TICKETS,
    Speaker,
    opened,
    raw_connection,
    words,
)
from tests.support.waiting import PATIENCE, eventually

LONG = "x" * 3000
HEAD = b"GET /api/v1/ws/lobby HTTP/1.1\r\nHost: x\r\n"
LONG_LINE = HEAD.replace(b" HTTP", b"?x=" + b"a" * 9000 + b" HTTP")
UPGRADE = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
MESSAGES = 300


@dataclass
class Service:
    """The whole service on a port."""

    app: FastAPI
    server: LiveServer
    arrange: Arrange

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def hub(self) -> Hub:
        hub: Hub = self.app.state.resources.hub
        return hub


Serve = Callable[..., AbstractAsyncContextManager[Service]]


@pytest.fixture
def serve(
    make_settings: Callable[..., Settings], own_database_url: str, password_hash: str
) -> Serve:
    @asynccontextmanager
    async def opened_service(**realtime: Any) -> AsyncIterator[Service]:
        settings = make_settings(own_database_url, realtime=realtime)
        app = create_app(settings)
        options = uvicorn_options(settings.realtime)
        # Small buffers: else megabytes fit into those of a client that does not read.
        serving = live(app, send_buffer=16_384, timeout_graceful_shutdown=int(PATIENCE), **options)
        async with app.router.lifespan_context(app), serving as server:
            yield Service(app, server, Arrange(lambda: app.state.resources, password_hash))

    return opened_service


@asynccontextmanager
async def slow(port: int, account: Account) -> AsyncIterator[Speaker]:
    """A client with tiny buffers, which reads only on request."""
    with socket.socket() as narrow:
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        narrow.setblocking(False)
        await asyncio.get_running_loop().sock_connect(narrow, ("127.0.0.1", port))
        async with opened(port, account, sock=narrow, max_queue=1, close_timeout=1) as client:
            yield client


@asynccontextmanager
async def raw(
    port: int, request: bytes
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection on which this is sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        async with asyncio.timeout(PATIENCE):
            yield reader, writer
    finally:
        writer.transport.abort()


def errors(log: list[EventDict]) -> list[EventDict]:
    """Return the lines that would alert an operator."""
    return [line for line in log if line["log_level"] in {"error", "critical"}]


class TestSlowReader:
    async def test_is_dropped_and_slows_nobody(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The slow reader gets its close at the end, however long that takes.
        monkeypatch.setattr(server, "_SECONDS_TO_READ_THE_REST", PATIENCE)
        async with serve(queue_size=32) as service:
            ada, bob = await service.arrange.account(), await service.arrange.account()
            async with opened(service.port, ada) as quick, slow(service.port, bob) as reader:
                await quick.hear("joined")
                for number in range(MESSAGES):
                    service.hub.publish(words(f"{number} {LONG}"), LOBBY)
                    heard = await quick.hear("said", "left")
                    if heard["type"] == "left":
                        heard = await quick.hear("said")
                    assert heard["text"] == f"{number} {LONG}"
                await eventually(lambda: counts(service.hub, 1))

                assert await reader.end() == 4008

    async def test_that_reads_nothing_is_disconnected(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server, "_SECONDS_TO_READ_THE_REST", 0.05)
        async with serve(queue_size=8) as service:
            account = await service.arrange.account()
            async with slow(service.port, account):
                for number in range(MESSAGES):
                    service.hub.publish(words(f"{number} {LONG}"), LOBBY)
                    await asyncio.sleep(0)
                await eventually(lambda: has_no_connections(service.server))


class TestInvalidFrame:
    @pytest.mark.parametrize(
        ("data", "code"), [(b"x" * 100_000, 1009), (b"\xff\xfe", 1007)], ids=["large", "no UTF-8"]
    )
    async def test_closes_the_connection(self, serve: Serve, data: bytes, code: int) -> None:
        async with (
            serve(max_message_bytes=1024) as service,
            opened(service.port, await service.arrange.account()) as client,
        ):
            await client.connection.send(data, text=True)
            assert await client.end() == code


class TestFlood:
    @pytest.mark.parametrize(
        ("first", "frame"),
        [
            (b"", b"\x89\x80mask"),
            (b"", b"\x8a\x80mask"),
            (b"\x01\x80mask", b"\x00\x80mask"),
            (b"", b"\x81\x80mask"),
        ],
        ids=["pings", "pongs", "fragments", "messages"],
    )
    async def test_closes_the_connection(self, serve: Serve, first: bytes, frame: bytes) -> None:
        with capture_logs() as log:
            async with serve() as service:
                account = await service.arrange.account()
                async with raw_connection(service.port, account) as (reader, writer):
                    await reader.readuntil(b"}")
                    writer.write(first + frame * 5000)
                    async with asyncio.timeout(PATIENCE):
                        answer = await reader.read()
                await eventually(lambda: has_no_connections(service.server))

        assert errors(log) == []
        assert (1008).to_bytes(2) in answer
        assert answer.count(b"\x8a\x00") < 1000, "pongs for a slice, not for all pings"

    async def test_of_a_client_that_reads_nothing_disconnects_it(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server, "_SECONDS_TO_READ_THE_REST", 0.05)
        with capture_logs() as log:
            async with (
                serve(queue_size=10_000) as service,
                slow(service.port, await service.arrange.account()) as client,
            ):
                [connection] = service.server.server.server_state.connections
                while not connection.transport.get_write_buffer_size():
                    service.hub.publish(words(LONG), LOBBY)
                    await asyncio.sleep(0)
                # Messages that the application is about to answer, and frames that end it.
                answered = (b"\x81\xe4mask" + b"a" * 100) * 40
                client.connection.transport.write(answered + b"\x89\x80mask" * 5000)
                await eventually(lambda: has_no_connections(service.server))

        assert errors(log) == []


class TestStranger:
    """Clients without credentials cause no error in the log."""

    async def test_is_answered_when_the_handshake_is_refused(self, serve: Serve) -> None:
        with capture_logs() as log:
            async with serve() as service:
                for start in (
                    LONG_LINE,
                    HEAD + b"X-Long: " + b"a" * 9000 + b"\r\n",
                    HEAD + b"X-Many: a\r\n" * 200,
                    HEAD + b"Content-Length: 3\r\n",
                    HEAD.replace(b"GET", b"POST"),
                    HEAD.replace(b" HTTP", b"?x=\xff HTTP"),
                    HEAD.replace(b"lobby", b"\xff"),
                    HEAD + b"X-Odd: \xff\r\nSec-WebSocket-Key: \xff\r\n",
                    HEAD.replace(b": x", b": x\r\nSec-WebSocket-Version: 9"),
                ):
                    async with raw(service.port, start + UPGRADE) as (reader, _):
                        assert (await reader.read()).startswith(b"HTTP/1.1 4"), start
                await eventually(lambda: has_no_connections(service.server))
        assert errors(log) == []

    async def test_does_not_keep_the_server_from_stopping(self, serve: Serve) -> None:
        async with serve() as service, raw(service.port, LONG_LINE + UPGRADE):
            await service.server.stop()

    async def test_has_a_broken_origin(self, serve: Serve) -> None:
        with capture_logs() as log:
            async with serve() as service:
                account = await service.arrange.account()
                for origin in ("http://[", "http://[::1", "//", "null", "http://\xff", "http://"):
                    headers = {**account.headers, "Origin": origin}
                    address = f"ws://127.0.0.1:{service.port}{PATH}lobby"
                    async with connect(address, additional_headers=headers, proxy=None) as refused:
                        await refused.wait_closed()
                    assert refused.close_code == 4003, origin
        assert errors(log) == []

    async def test_exceeds_a_rate_limit(self, serve: Serve) -> None:
        limiter = RateLimiter(RateLimitSettings(general_address="1/hour"))
        with capture_logs() as log:
            async with serve() as service:
                state = service.app.state
                state.resources = replaced(state.resources, rate_limiter=limiter)
                account = await service.arrange.account()
                async with opened(service.port, account):
                    with pytest.raises(InvalidStatus) as refused:
                        await connect(f"ws://127.0.0.1:{service.port}{PATH}lobby", proxy=None)
        assert refused.value.response.status_code == 429
        assert errors(log) == []

    async def test_sends_broken_frames(self, serve: Serve) -> None:
        with capture_logs() as log:
            async with serve() as service:
                account = await service.arrange.account()
                for frames, code in (
                    (b"\x83\x80mask" + b"\x81\x81\0\0\0\0\xff" * 3, 1002),
                    (b"\xc1\x80mask", 1002),
                    (b"\x81\x02hi", 1002),
                    (b"\x80\x80mask", 1002),
                    (b"\x09\x80mask", 1002),
                    (b"\x89\xfe\x00\x7emask" + b"a" * 126, 1002),
                    (b"\x81\xff" + b"\xff" * 8 + b"mask", 1009),
                    (b"\x88\x81\0\0\0\0a", 1002),
                    (b"\x88\x82\0\0\0\0\0\0", 1002),
                    (b"\x88\x83\0\0\0\0\x03\xe8\xff", 1007),
                    (b"\x81\x81\0\0\0\0\xff" * 3, 1007),
                    (b"\x01\x81\0\0\0\0\xff\x80\x81\0\0\0\0\xff", 1007),
                    (b"\x01\x81\0\0\0\0a\x81\x81\0\0\0\0a", 1002),
                ):
                    async with raw_connection(service.port, account) as (reader, writer):
                        await reader.readuntil(b"}")
                        writer.write(frames)
                        async with asyncio.timeout(PATIENCE):
                            assert code.to_bytes(2) in await reader.read(), frames
                await eventually(lambda: has_no_connections(service.server))
        assert errors(log) == []

    async def test_sends_a_broken_frame_or_leaves_during_the_handshake(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        admit = ConnectionGuard.admit
        waiting, leave = asyncio.Event(), asyncio.Event()

        async def admit_late(*credentials: Any) -> Principal:
            waiting.set()
            await leave.wait()
            return await admit(*credentials)

        monkeypatch.setattr(ConnectionGuard, "admit", admit_late)
        with capture_logs() as log:
            async with serve() as service:
                account = await service.arrange.account()
                bearer_line = f"Authorization: Bearer {account.access_token}\r\n".encode()
                for frame in (b"\x83\x80mask", b""):
                    waiting.clear()
                    leave.clear()
                    async with raw(service.port, HEAD + bearer_line + UPGRADE) as (reader, writer):
                        await waiting.wait()
                        writer.write(frame)
                        if not frame:
                            writer.close()
                        assert await reader.read() == b""
                    await eventually(lambda: has_no_connections(service.server))
                    leave.set()
                await eventually(lambda: counts(service.hub, 0))
        assert errors(log) == []


class TestMetrics:
    async def test_show_open_sockets(self, measured: Measured, password_hash: str) -> None:
        async with measured() as (app, client):
            ada = await Arrange(lambda: app.state.resources, password_hash).account()
            port = client.base_url.port
            assert port is not None
            async with opened(port, ada):
                await until(client, 1, "websocket_connections")
            await until(client, 0, "websocket_connections")


class TestHeartbeat:
    async def test_disconnects_dead_clients(self, serve: Serve) -> None:
        async with serve(heartbeat_seconds=0.05, heartbeat_timeout=0.05) as service:
            account = await service.arrange.account()
            async with raw_connection(service.port, account) as (reader, _):
                async with asyncio.timeout(60):
                    heard = await reader.read()
                await eventually(lambda: counts(service.hub, 0))
        assert b"keepalive" in heard

    async def test_keeps_living_clients(self, serve: Serve) -> None:
        async with (
            serve(heartbeat_seconds=0.02, heartbeat_timeout=10.0) as service,
            opened(service.port, await service.arrange.account()) as client,
        ):
            for number in range(20):
                await client.send(type="ping", nonce=str(number))
                assert (await client.hear("pong"))["nonce"] == str(number)


class TestShutdown:
    async def test_closes_with_1012_at_once(self, serve: Serve) -> None:
        async with serve() as service:
            account = await service.arrange.account()
            async with opened(service.port, account) as one, opened(service.port, account) as two:
                await service.server.stop()
                assert [await one.end(), await two.end()] == [1012, 1012]
            assert service.hub.connections == 0

    async def test_does_not_wait_for_slow_readers(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server, "_SECONDS_TO_READ_THE_REST", 0.05)
        async with serve(queue_size=10_000) as service:
            async with slow(service.port, await service.arrange.account()):
                for number in range(MESSAGES):
                    service.hub.publish(words(f"{number} {LONG}"), LOBBY)
                    await asyncio.sleep(0)
                await service.server.stop()
            assert service.hub.connections == 0


class TestClientThatLeaves:
    async def test_is_removed(self, serve: Serve) -> None:
        async with serve() as service:
            account = await service.arrange.account()
            async with opened(service.port, account) as client:
                client.connection.transport.abort()
                await eventually(lambda: counts(service.hub, 0))


class TestRecheck:
    """Clients that lose their session, account or permission are disconnected."""

    @pytest.fixture
    async def service(self, serve: Serve) -> AsyncIterator[Service]:
        async with serve(recheck_seconds=0.02) as service:
            yield service

    @pytest.mark.parametrize(
        ("statement", "code"),
        [
            pytest.param(
                update(models.AuthSession).values(revoked_at=utc_now()), 4001, id="session"
            ),
            pytest.param(update(models.User).values(is_active=False), 4001, id="account"),
            pytest.param(update(models.User).values(role="user"), 4003, id="permission"),
            pytest.param(delete(models.User), 4001, id="deletion"),
        ],
    )
    async def test_closes_the_connections_of_a_user(
        self, service: Service, statement: Update | Delete, code: int
    ) -> None:
        ada, bob = await service.arrange.account(role="support"), await service.arrange.account()
        async with opened(service.port, ada, "admin") as client, opened(service.port, bob) as other:
            own = statement.table.c["id"].in_([ada.id, ada.session_id])
            await service.arrange.execute(statement.where(own))
            assert await client.end() == code
            await other.send(type="ping")
            assert await other.hear("pong")

    async def test_closes_the_connections_of_an_api_key(self, service: Service) -> None:
        ada = await service.arrange.account()
        key = await service.arrange.api_key(ada, frozenset({"profile:read"}))
        address = f"ws://127.0.0.1:{service.port}{PATH}lobby"
        async with (
            opened(service.port, ada) as person,
            connect(address, additional_headers=bearer(key), proxy=None) as connection,
        ):
            machine = Speaker(connection)
            await machine.hear("welcome")
            await service.arrange.execute(delete(models.ApiKey))
            assert await machine.end() == 4001
            await person.send(type="ping")
            assert await person.hear("pong")


class TestLog:
    async def test_holds_no_ticket(self, serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
        async with serve() as service:
            ada = await service.arrange.account()
            async with httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport()) as http:
                path = f"http://127.0.0.1:{service.port}{TICKETS}"
                issued = await http.post(path, headers=ada.headers)
            ticket = issued.json()["ticket"]
            address = f"ws://127.0.0.1:{service.port}{PATH}me?ticket={ticket}"
            async with connect(address, proxy=None) as connection:
                assert (await Speaker(connection).hear())["type"] == "welcome"
            async with connect(address, proxy=None) as connection:
                assert await Speaker(connection).end() == 4001

        written = "".join(capsys.readouterr())
        assert written.count(f"{PATH}me?ticket=[redacted]") == 2
        assert "code=invalid_ticket" in written
        assert ticket not in written


async def counts(hub: Hub, number: int) -> bool:
    return hub.connections == number


async def has_no_connections(server: LiveServer) -> bool:
    return not server.server.server_state.connections
