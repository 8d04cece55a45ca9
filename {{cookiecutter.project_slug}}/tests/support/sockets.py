"""WebSockets for tests: in the process, and over real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, Final
from uuid import UUID

import anyio
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.types import Message
from starlette.websockets import WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from app.core.ids import new_id
from app.domain.permissions import ROLES
from app.domain.realtime import LOBBY
from app.infrastructure.realtime import Client, Close, Connection, Hub
from app.messages.chat import SpokenMessage, spoken
from tests.support.arrange import Account
from tests.support.waiting import PATIENCE, eventually

Json = dict[str, Any]

PATH: Final = "/api/v1/ws/"
TICKETS: Final = "/api/v1/ws/tickets"


def ticket_of(client: TestClient, account: Account) -> str:
    """A new ticket."""
    response = client.post(TICKETS, headers=account.headers)
    assert response.status_code == 200
    ticket: str = response.json()["ticket"]
    return ticket


@contextmanager
def connected(
    client: TestClient, account: Account, channel: str = "lobby", **headers: str
) -> Iterator[WebSocketTestSession]:
    """A connection in the process, after its welcome."""
    with _accepted(client, PATH + channel, {**account.headers, **headers}) as session:
        assert session.receive_json()["type"] == "welcome"
        yield session


def end_of_connection(client: TestClient, account: Account) -> int:
    """Connect in the process until the connection is closed; return the code."""
    with _accepted(client, f"{PATH}lobby", account.headers) as session:
        while (message := session.receive())["type"] != "websocket.close":
            """There may be no message, not even the welcome."""
    code: int = message["code"]
    return code


@contextmanager
def _accepted(
    client: TestClient, path: str, headers: dict[str, str]
) -> Iterator[WebSocketTestSession]:
    """A connection with a time limit, which Starlette's sessions lack."""

    async def received() -> Message:
        with anyio.fail_after(PATIENCE):
            message: Message = await session._send_rx.receive()
            return message

    assert isinstance(client.app, FastAPI)
    assert client.portal is not None
    hub: Hub = client.app.state.resources.hub
    others = hub.connections

    async def has_left() -> bool:
        return hub.connections <= others and not hub._leaving

    with client.websocket_connect(path, headers=headers) as session:
        session.receive = lambda: session.portal.call(received)  # type: ignore[method-assign]
        yield session
    # Else the next connection gets its `left`.
    client.portal.call(eventually, has_left)


def close_code(session: WebSocketTestSession) -> int:
    """The close code, which must be next."""
    with pytest.raises(WebSocketDisconnect) as ended:
        session.receive_json()
    return ended.value.code


def refusal(client: TestClient, path: str, **headers: str) -> int:
    """The code that a connection is refused with."""
    with _accepted(client, path, headers) as session:
        return close_code(session)


class Speaker:
    """A connection over a real socket."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.id = ""

    async def hear(self, *types: str) -> Json:
        """The next message, or the next of these types."""
        async with asyncio.timeout(PATIENCE):
            while True:
                message: Json = json.loads(await self.connection.recv())
                if not types or message["type"] in types:
                    return message

    async def said(self, number: int) -> list[str]:
        """The texts of the next `said` messages."""
        return [(await self.hear("said"))["text"] for _ in range(number)]

    async def send(self, **message: Any) -> None:
        await self.connection.send(json.dumps(message))

    async def end(self) -> int | None:
        """Receive until the connection is closed; return the code."""
        async with asyncio.timeout(PATIENCE):
            try:
                while True:
                    await self.connection.recv()
            except ConnectionClosed:
                return self.connection.close_code


@asynccontextmanager
async def opened(
    port: int, account: Account, channel: str = "lobby", **options: Any
) -> AsyncIterator[Speaker]:
    """A connection over a real socket, after its welcome."""
    address = f"ws://127.0.0.1:{port}{PATH}{channel}"
    # Compression and pings cost time; a full queue would hide the close.
    given: Json = {"compression": None, "ping_interval": None, "max_queue": None, "proxy": None}
    given |= options
    async with connect(address, additional_headers=account.headers, **given) as connection:
        client = Speaker(connection)
        client.id = (await client.hear("welcome"))["connection_id"]
        yield client


@asynccontextmanager
async def raw_connection(
    port: int, account: Account, channel: str = "lobby"
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection without a library: it answers nothing by itself, and costs little."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (
        f"GET {PATH}{channel} HTTP/1.1\r\n"
        "Host: testserver\r\n"
        "Upgrade: websocket\r\n"
        "Connection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        "Sec-WebSocket-Version: 13\r\n"
        f"Authorization: Bearer {account.access_token}\r\n"
        "\r\n"
    )
    try:
        writer.write(head.encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        yield reader, writer
    finally:
        writer.transport.abort()


async def all_opened(
    stack: AsyncExitStack, port: int, people: list[Account], channel: str = "lobby"
) -> list[Speaker]:
    """Connections of several users."""
    return [await stack.enter_async_context(opened(port, each, channel)) for each in people]


def client_in(channel: str = LOBBY, subject: UUID | None = None) -> Client:
    """A client of a channel."""
    return Client(
        id=new_id(),
        subject=subject or new_id(),
        name="ada",
        permissions=frozenset(ROLES["user"]),
        credential=new_id(),
        channel=channel,
    )


async def nobody_leaves(_: Collection[Client]) -> dict[UUID, Close]:
    return {}


def words(text: str) -> SpokenMessage:
    """A text from some user."""
    return spoken("said", client_in().sender, text)


async def heard(connection: Connection, *types: str) -> Json:
    """The next message of a connection, or the next of these types."""
    async with asyncio.timeout(PATIENCE):
        while True:
            message: Json = json.loads(await connection.next())
            if not types or message["type"] in types:
                return message


@asynccontextmanager
async def joined(hub: Hub, one: Client | None = None) -> AsyncIterator[Connection]:
    """A connection to a hub, after its welcome."""
    connection = await hub.join(one or client_in())
    try:
        assert (await heard(connection))["type"] == "welcome"
        yield connection
    finally:
        await hub.leave(connection)


async def outcome_of(port: int, ticket: str) -> str:
    """The type of the first message, or the close code."""
    address = f"ws://127.0.0.1:{port}{PATH}lobby?ticket={ticket}"
    async with connect(address, proxy=None) as connection:
        try:
            kind: str = (await Speaker(connection).hear())["type"]
        except ConnectionClosed:
            kind = str(connection.close_code)
    return kind
