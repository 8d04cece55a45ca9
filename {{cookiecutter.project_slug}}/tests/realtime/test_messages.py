"""Messages: from clients, to clients, and through the hub."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient, WebSocketTestSession
from structlog.testing import capture_logs

from app.config import Settings
from app.core.ids import new_id
from app.core.logging import LoggedError
from app.infrastructure.realtime import Client, Close, Hub
from app.infrastructure.realtime.hub import Recheck
from app.infrastructure.realtime.sockets import RateMeter
from tests.support.arrange import Account, ArrangeSync
from tests.support.sockets import (
    PATH,
    Json,
    client_in,
    close_code,
    connected,
    end_of_connection,
    heard,
    joined,
    nobody_leaves,
    words,
)

OpenHub = Callable[..., AbstractAsyncContextManager[Hub]]


@pytest.fixture
def bob(arrange: ArrangeSync) -> Account:
    return arrange.account()


@pytest.fixture
def limited(settings: Settings, use: Callable[..., None]) -> Callable[..., None]:
    """Change settings of WebSockets."""

    def limit(**limits: Any) -> None:
        realtime = settings.realtime.model_copy(update=limits)
        use(settings=settings.model_copy(update={"realtime": realtime}))

    return limit


@pytest.fixture
def session(client: TestClient, ada: Account) -> Iterator[WebSocketTestSession]:
    with connected(client, ada) as session:
        yield session


@pytest.fixture
def open_hub(make_settings: Callable[..., Settings], database_url: str) -> OpenHub:
    """Opens hubs, each as in a process of its own."""
    # A hub asks no database; another one means another service, which shares nothing.
    elsewhere = f"{database_url}{new_id().hex}"

    @asynccontextmanager
    async def opened(recheck: Recheck = nobody_leaves, **limits: Any) -> AsyncIterator[Hub]:
        settings = make_settings(elsewhere, realtime=limits, server={"workers": 1})
        async with Hub.open(settings, recheck) as hub:
            yield hub

    return opened


def answer(session: WebSocketTestSession, **message: Any) -> Json:
    session.send_json(message)
    response: Json = session.receive_json()
    return response


def names(present: Json) -> set[str]:
    return {each["username"] for each in present["members"]}


class TestWelcome:
    def test_names_channel_and_members(self, client: TestClient, ada: Account) -> None:
        with client.websocket_connect(f"{PATH}me", headers=ada.headers) as session:
            welcome = session.receive_json()
        assert welcome["channel"] == f"user:{ada.id}"
        assert welcome["total"] == 1
        assert welcome["members"] == [
            {
                "connection_id": welcome["connection_id"],
                "user_id": str(ada.id),
                "username": ada.username,
            }
        ]


class TestPresence:
    def test_is_announced_to_the_channel(
        self, client: TestClient, session: WebSocketTestSession, ada: Account, bob: Account
    ) -> None:
        with connected(client, bob):
            joined = session.receive_json()
            present = answer(session, type="who")
        left = session.receive_json()

        assert (joined["type"], joined["member"]["username"]) == ("joined", bob.username)
        assert (left["type"], left["member"]) == ("left", joined["member"])
        assert present["type"] == "present"
        assert names(present) >= {ada.username, bob.username}

    def test_belongs_to_one_channel(
        self, client: TestClient, session: WebSocketTestSession, bob: Account
    ) -> None:
        with connected(client, bob, "me") as own:
            assert answer(session, type="ping")["type"] == "pong"
            assert bob.username not in names(answer(session, type="who"))
            assert names(answer(own, type="who")) == {bob.username}

    async def test_is_not_announced_in_a_large_channel(self, open_hub: OpenHub) -> None:
        async with open_hub(presence_limit=2) as hub, joined(hub) as first:
            async with joined(hub) as second:
                third = await hub.join(client_in())
                welcome = await heard(third)
                await hub.leave(third)
                hub.publish(words("after"), first.client.channel)
                assert (await heard(second))["text"] == "after"

            kinds = [(await heard(first))["type"] for _ in range(3)]

        assert kinds == ["joined", "said", "left"]
        assert (welcome["total"], len(welcome["members"])) == (3, 2)


class TestSay:
    def test_reaches_the_channel_and_no_other(
        self,
        client: TestClient,
        arrange: ArrangeSync,
        session: WebSocketTestSession,
        ada: Account,
        bob: Account,
    ) -> None:
        with (
            connected(client, bob) as other,
            connected(client, arrange.account(), "me") as elsewhere,
        ):
            session.receive_json()
            own = answer(session, type="say", text="Good morning")
            assert other.receive_json() == own
            assert answer(elsewhere, type="ping", nonce="7") == {"type": "pong", "nonce": "7"}
        assert (own["type"], own["text"]) == ("said", "Good morning")
        assert own["sender"] == {"user_id": str(ada.id), "username": ada.username}

    async def test_keeps_the_order(self, open_hub: OpenHub) -> None:
        async with open_hub() as hub, joined(hub) as one, joined(hub) as other:
            assert (await heard(one))["type"] == "joined"
            for number in range(50):
                hub.publish(words(str(number)), one.client.channel)
            for connection in (one, other):
                texts = [(await heard(connection))["text"] for _ in range(50)]
                assert texts == [str(number) for number in range(50)]


class TestTell:
    def test_reaches_all_connections_of_one_user(
        self, client: TestClient, arrange: ArrangeSync, ada: Account, bob: Account
    ) -> None:
        with (
            connected(client, arrange.account(role="support")) as speaker,
            connected(client, bob, "me") as one,
            connected(client, bob, "me") as other,
            connected(client, ada, "me") as stranger,
        ):
            assert one.receive_json()["type"] == "joined"
            # The sender does not learn whether a user exists.
            speaker.send_json({"type": "tell", "user_id": str(new_id()), "text": "Hello?"})
            speaker.send_json({"type": "tell", "user_id": str(bob.id), "text": "For you"})
            assert one.receive_json() == (message := other.receive_json())
            assert answer(stranger, type="ping")["type"] == "pong"
            assert answer(speaker, type="ping")["type"] == "pong"
        assert (message["type"], message["text"]) == ("told", "For you")


class TestAnnounce:
    def test_reaches_everybody(
        self, client: TestClient, arrange: ArrangeSync, session: WebSocketTestSession, bob: Account
    ) -> None:
        with (
            connected(client, arrange.account(role="admin"), "admin") as speaker,
            connected(client, bob, "me") as other,
        ):
            message = answer(speaker, type="announce", text="We close at six")
            assert other.receive_json() == session.receive_json() == message
        assert message["type"] == "announced"

    @pytest.mark.parametrize("kind", ["announce", "tell"])
    def test_needs_a_permission(self, session: WebSocketTestSession, kind: str) -> None:
        fields = {"user_id": str(new_id())} if kind == "tell" else {}
        refused = answer(session, type=kind, text="We close at six", **fields)
        assert (refused["type"], refused["code"]) == ("error", "insufficient_scope")


class TestInvalidMessages:
    @pytest.mark.parametrize(
        ("text", "code", "detail"),
        [
            ("{", "malformed_message", "JSON"),
            ("", "malformed_message", "JSON"),
            ("[" * 3000, "malformed_message", "JSON"),
            ("7", "unknown_message", "type"),
            ("[]", "unknown_message", "type"),
            ("{}", "unknown_message", "type"),
            ('{"type": "shout"}', "unknown_message", "type"),
            ('{"type": "say"}', "invalid_message", "text: "),
            ('{"type": "say", "text": " "}', "invalid_message", "text: "),
            ('{"type": "say", "text": "a", "as": "bob"}', "invalid_message", "as: "),
            ('{"type": "tell", "user_id": "bob", "text": "a"}', "invalid_message", "user_id: "),
            ('{"type": "say", "text": "\\u0000"}', "invalid_message", "text: "),
            (json.dumps({"type": "say", "text": "a" * 4001}), "invalid_message", "text: "),
        ],
    )
    def test_are_answered_with_an_error(
        self, session: WebSocketTestSession, text: str, code: str, detail: str
    ) -> None:
        session.send_text(text)

        error = session.receive_json()

        assert (error["type"], error["code"]) == ("error", code)
        assert detail in error["detail"]
        assert len(error["detail"]) <= 300
        assert answer(session, type="ping")["type"] == "pong"

    def test_close_the_connection_if_there_are_too_many(
        self, client: TestClient, ada: Account, limited: Callable[..., None]
    ) -> None:
        limited(max_faults=2)
        with connected(client, ada) as session:
            for _ in range(3):
                session.send_text("{")
            assert [session.receive_json()["type"] for _ in range(2)] == ["error", "error"]
            assert close_code(session) == 1007

    def test_close_the_connection_if_they_are_binary(self, session: WebSocketTestSession) -> None:
        session.send_bytes(b"{}")
        assert close_code(session) == 1003

    @pytest.mark.parametrize("letter", ["a", "\u00e4"])
    def test_close_the_connection_if_they_are_too_large(
        self, client: TestClient, ada: Account, limited: Callable[..., None], letter: str
    ) -> None:
        limited(max_message_bytes=256)
        with connected(client, ada) as session:
            session.send_json({"type": "ping", "nonce": letter * 240})
            assert close_code(session) == 1009


class TestRate:
    def test_is_limited(
        self, client: TestClient, ada: Account, limited: Callable[..., None]
    ) -> None:
        limited(messages_per_second=0.01, burst=2, max_faults=1)
        with connected(client, ada) as session:
            for _ in range(4):
                session.send_json({"type": "ping"})
            responses = [session.receive_json() for _ in range(3)]
            assert [each["type"] for each in responses] == ["pong", "pong", "error"]
            assert responses[2]["code"] == "too_many_messages"
            assert close_code(session) == 1008

    def test_refills_up_to_the_burst(self) -> None:
        meter = RateMeter(rate=2.0, burst=3, now=0.0)
        for now, allowed in ((0.0, 3), (0.5, 1), (1e6, 3)):
            taken = [meter.allows(now) for _ in range(allowed + 1)]
            assert taken == [True] * allowed + [False]


class TestConnection:
    def test_has_a_maximum_lifetime(
        self, client: TestClient, ada: Account, limited: Callable[..., None]
    ) -> None:
        limited(life_minutes=0.0001)
        assert end_of_connection(client, ada) == 4001

    def test_holds_no_connection_to_the_database(
        self, app: FastAPI, session: WebSocketTestSession
    ) -> None:
        assert answer(session, type="ping")["type"] == "pong"
        pool = app.state.resources.database.engine.pool
        assert pool.checkedout() <= 1  # that of the test

    def test_is_closed_and_logged_after_an_error_of_ours(
        self,
        session: WebSocketTestSession,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def fail(*_: object) -> None:
            raise RuntimeError("hunter2")

        monkeypatch.setattr(Hub, "publish", fail)
        session.send_json({"type": "say", "text": "Good morning"})

        end = session.receive()

        assert (end["type"], end["code"]) == ("websocket.close", 1011)
        assert "hunter2" not in end["reason"]
        assert "unexpected error" in "".join(capsys.readouterr())

    def test_is_removed_after_an_error_while_it_joins(
        self, client: TestClient, app: FastAPI, ada: Account, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def fail(*_: object) -> None:
            raise RuntimeError

        hub: Hub = app.state.resources.hub
        monkeypatch.setattr(hub._fanout, "enter", fail)
        with (
            pytest.raises(LoggedError),
            client.websocket_connect(f"{PATH}lobby", headers=ada.headers),
        ):
            pass
        assert hub.connections == 0

    async def test_is_rechecked_again_after_a_failed_check(self, open_hub: OpenHub) -> None:
        asked = []

        async def recheck(clients: Collection[Client]) -> dict[UUID, Close]:
            asked.append(len(clients))
            if len(asked) == 1:
                raise OSError("no database")
            return {each.id: Close(4001, "gone") for each in clients}

        with capture_logs() as lines:
            async with open_hub(recheck, recheck_seconds=0.01) as hub:
                connection = await hub.join(client_in())
                async with asyncio.timeout(60):
                    await connection.closed
                await hub.leave(connection)

        assert asked == [1, 1]
        assert "recheck of connections failed" in [line["event"] for line in lines]
