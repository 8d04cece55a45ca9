"""Concurrency limits: no account can block the others."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from itertools import islice

import pytest
from fastapi import FastAPI
from sqlalchemy import update

from app import models
from app.config import Settings
from app.core.config import HttpSettings
from app.infrastructure.http.server import HttpProtocol
from app.main import create_app
from tests.api.test_streaming import exporting, owner_of_things, store_things
from tests.conftest import async_client_of
from tests.support.arrange import Account, Arrange
from tests.support.serving import LiveServer, live, served
from tests.support.things import EXPORT, THINGS, with_things
from tests.support.waiting import PATIENCE, eventually

LIVE = b"GET /live HTTP/1.1\r\nHost: testserver\r\n\r\n"
ME = "/api/v1/users/me"
HASTY = HttpSettings(grace_seconds=0.05, min_bytes_per_second=10**9)


@pytest.fixture
async def app(
    make_settings: Callable[..., Settings], own_database_url: str
) -> AsyncIterator[FastAPI]:
    """An application that gives half of its connections to an account."""
    limits = {"concurrent_requests": None, "concurrent_transfers": 1}
    database = {"pool_size": 9}
    settings = make_settings(own_database_url, database=database, rate_limits=limits)
    app = with_things(create_app(settings))
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
def arrange(app: FastAPI, password_hash: str) -> Arrange:
    return Arrange(lambda: app.state.resources, password_hash)


class TestRequests:
    async def test_of_one_account_leave_connections_to_others(
        self, app: FastAPI, arrange: Arrange
    ) -> None:
        ada, bob = await arrange.account(), await arrange.account()
        lock = update(models.User).where(models.User.id == ada.id).values(full_name="Locked")
        change = {"full_name": "Ada"}
        async with async_client_of(app) as client:
            async with app.state.resources.database.transaction() as session:
                await session.execute(lock)
                changes = [
                    asyncio.create_task(client.patch(ME, headers=ada.headers, json=change))
                    for _ in range(20)
                ]
                refused, *_ = [await each for each in islice(asyncio.as_completed(changes), 16)]
                others = await client.get(ME, headers=bob.headers)
            statuses = sorted([(await each).status_code for each in changes])

        assert others.status_code == 200
        assert statuses == [200] * 4 + [429] * 16
        assert refused.json()["code"] == "too_many_concurrent_requests"
        assert refused.headers["Retry-After"] == "1"

    @pytest.mark.parametrize("path", [ME, EXPORT, f"{EXPORT}?chosen=none"])
    async def test_count_until_they_end_in_any_way(
        self, app: FastAPI, arrange: Arrange, path: str
    ) -> None:
        ada = await owner_of_things(app, arrange, 1)
        async with async_client_of(app) as client:
            statuses = {(await client.get(path, headers=ada.headers)).status_code for _ in range(6)}

        assert statuses in ({200}, {422})


class TestSearch:
    async def test_is_stopped_in_time(
        self, make_settings: Callable[..., Settings], own_database_url: str, password_hash: str
    ) -> None:
        limits = {"search_timeout": 0.01, "pool_size": 1}
        settings = make_settings(own_database_url, database=limits)
        app = with_things(create_app(settings))
        async with app.router.lifespan_context(app), async_client_of(app) as client:
            ada = await Arrange(lambda: app.state.resources, password_hash).account()
            stopped = await client.get(f"{THINGS}/endless?q=a", headers=ada.headers)
            next_one = await client.get(ME, headers=ada.headers)

        assert stopped.status_code == 422
        assert stopped.json()["code"] == "search_too_slow"
        assert next_one.status_code == 200


class TestExports:
    async def test_of_one_account_leave_snapshots_to_others_until_its_client_is_gone(
        self, app: FastAPI, arrange: Arrange
    ) -> None:
        ada, bob = await owner_of_things(app, arrange, 4000), await arrange.account()
        await store_things(app, bob, 1)
        async with served(app) as client:
            async with AsyncExitStack() as unread:
                await unread.enter_async_context(exporting(client, ada))
                refused = await client.get(EXPORT, headers=ada.headers)
                others = await client.get(EXPORT, headers=bob.headers)

            async def is_free() -> bool:
                response = await client.get(EXPORT, headers=ada.headers)
                return response.status_code == 200

            await eventually(is_free, "the export is free again")

        assert refused.json()["code"] == "too_many_concurrent_requests"
        assert others.status_code == 200

    async def test_end_when_their_client_stops_reading(
        self, app: FastAPI, arrange: Arrange
    ) -> None:
        ada = await owner_of_things(app, arrange, 4000)
        loop, protocol = asyncio.get_running_loop(), partial(HttpProtocol, HASTY)
        async with live(app, send_buffer=4096, http=protocol) as server:
            with socket.socket() as unread:
                unread.setblocking(False)
                await loop.sock_connect(unread, ("127.0.0.1", server.port))
                await loop.sock_sendall(unread, request_line("GET", EXPORT, ada) + b"\r\n")
                begin = await loop.sock_recv(unread, 12)

                async def is_free() -> bool:
                    async with async_client_of(app) as client:
                        response = await client.get(EXPORT, headers=ada.headers)
                    return response.status_code == 200

                await eventually(is_free, "the export is free again")

        assert begin == b"HTTP/1.1 200"


class TestBodies:
    async def test_that_stall_are_refused_and_disconnected(
        self, make_settings: Callable[..., Settings], database_url: str
    ) -> None:
        hasty = HASTY.model_dump(include={"grace_seconds", "min_bytes_per_second"})
        app = create_app(make_settings(database_url, http=hasty))
        async with app.router.lifespan_context(app), live(app) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            lines = b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
            writer.write(request_line("POST", "/api/v1/users") + lines)
            async with asyncio.timeout(PATIENCE):
                answer = await reader.read()  # to the end of the connection
            writer.close()
            await writer.wait_closed()

        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in answer
        assert b'"code":"request_timeout"' in answer

    async def test_of_tiny_chunks_are_read_in_turns(self, app: FastAPI) -> None:
        number, turns = 40_000, Counter[int]()
        turn = 0

        async def count_turns() -> None:
            nonlocal turn
            while True:
                turn += 1
                await asyncio.sleep(0)

        async def is_begun() -> bool:
            return bool(turns)

        class Counting(HttpProtocol):
            def on_body(self, body: bytes) -> None:
                turns[turn] += 1
                super().on_body(body)

        protocol = partial(Counting, HttpSettings())
        async with asyncio.timeout(PATIENCE), live(app, http=protocol) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(request_line("POST", "/api/v1/users"))
            writer.write(b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
            writer.write(b"1\r\n{\r\n")
            await eventually(is_begun, "the body has begun")
            counting = asyncio.create_task(count_turns())
            [connection] = server.server.server_state.connections
            connection.data_received(b"1\r\n \r\n" * number + b"1\r\n}\r\n0\r\n\r\n" + LIVE)
            answers = [await reader.readuntil(b"}") for _ in range(2)]
            counting.cancel()
            writer.close()
            await writer.wait_closed()

        assert answers[0].startswith(b"HTTP/1.1 422 ")
        assert turns.total() == number + 2
        assert max(turns.values()) < number / 4


class TestHeads:
    @pytest.mark.parametrize("before", [b"", LIVE], ids=["first", "second"])
    @pytest.mark.parametrize("sent", [b"", b"GET"], ids=["none", "half"])
    async def test_that_stall_are_disconnected(
        self, app: FastAPI, before: bytes, sent: bytes
    ) -> None:
        protocol = partial(HttpProtocol, HASTY)
        async with asyncio.timeout(PATIENCE), live(app, http=protocol) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            if before:
                writer.write(before)
                await reader.readuntil(b"}")
            writer.write(sent)
            rest = await reader.read()  # to the end of the connection
            writer.close()
            await writer.wait_closed()

        assert rest == b""

    async def test_that_do_not_end_are_refused(self, app: FastAPI) -> None:
        protocol = partial(HttpProtocol, HttpSettings(grace_seconds=600))
        async with asyncio.timeout(PATIENCE), live(app, http=protocol) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /live HTTP/1.1\r\nX-Long: " + b"a" * 2**20)
            # The server may reset the connection, as it has not read everything.
            with suppress(ConnectionError):
                answer = await reader.read()
                assert answer.startswith(b"HTTP/1.1 400 ")
            with suppress(ConnectionError):
                writer.close()
                await writer.wait_closed()

    async def test_of_many_fields_are_refused(self, app: FastAPI) -> None:
        protocol = partial(HttpProtocol, HttpSettings())
        async with asyncio.timeout(PATIENCE), live(app, http=protocol) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(LIVE.replace(b"\r\n\r\n", b"\r\nX-Many: a" * 200 + b"\r\n\r\n"))
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()

        assert answer.startswith(b"HTTP/1.1 400 ")

    async def test_do_not_grow_by_a_trailer(self, app: FastAPI) -> None:
        protocol = partial(HttpProtocol, HttpSettings())
        async with asyncio.timeout(PATIENCE), live(app, http=protocol) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(request_line("POST", "/api/v1/users"))
            writer.write(b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
            writer.write(b"2\r\n{}\r\n0\r\n" + b"X-Trailer: a\r\n" * 1000 + b"\r\n")
            answer = await reader.readuntil(b"}")
            [connection] = connections(server)
            writer.close()
            await writer.wait_closed()

        assert answer.startswith(b"HTTP/1.1 422 ")
        assert len(connection.headers) == 3


class TestPipelines:
    async def test_are_read_as_their_requests_are_answered(self, app: FastAPI) -> None:
        number, waiting = 2000, 0
        protocol = partial(HttpProtocol, HttpSettings())
        async with asyncio.timeout(PATIENCE), live(app, http=protocol) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(LIVE * number)
            for _ in range(number):
                assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
                waiting = max(waiting, *(len(each.pipeline) for each in connections(server)))
            writer.close()
            await writer.wait_closed()

        assert 0 < waiting < 200


def connections(server: LiveServer) -> list[HttpProtocol]:
    """Return the connections of a server."""
    return [each for each in server.server.server_state.connections if type(each) is HttpProtocol]


def request_line(method: str, path: str, user: Account | None = None) -> bytes:
    """Return the beginning of a request, without the end of its headers."""
    token = f"Authorization: Bearer {user.access_token}\r\n" if user else ""
    return f"{method} {path} HTTP/1.1\r\nHost: testserver\r\n{token}".encode()
