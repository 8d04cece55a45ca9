"""What clients say, what they hear, and what becomes of messages that won't do."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient, WebSocketTestSession

from app.config import Settings
from app.core.ids import new_id
from app.core.logging import LoggedError
from app.infrastructure.realtime import Hub
from tests.support.arrange import ArrangeSync, Someone
from tests.support.sockets import PATH, Json, close_code, connected, end_of_connection


@pytest.fixture
def ada(arrange: ArrangeSync) -> Someone:
    return arrange.someone()


@pytest.fixture
def bob(arrange: ArrangeSync) -> Someone:
    return arrange.someone()


@pytest.fixture
def limited(settings: Settings, use: Callable[..., None]) -> Callable[..., None]:
    """Have settings of the test's own."""

    def limit(**limits: Any) -> None:
        realtime = settings.realtime.model_copy(update=limits)
        use(settings=settings.model_copy(update={"realtime": realtime}))

    return limit


@pytest.fixture
def session(client: TestClient, ada: Someone) -> Iterator[WebSocketTestSession]:
    with connected(client, ada) as session:
        yield session


def answer(session: WebSocketTestSession, **message: Any) -> Json:
    session.send_json(message)
    heard: Json = session.receive_json()
    return heard


def names(roll: Json) -> set[str]:
    return {each["username"] for each in roll["members"]}


class TestWelcome:
    def test_tells_where_one_is_and_who_is_there(self, client: TestClient, ada: Someone) -> None:
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
    def test_tells_the_others_who_comes_and_who_goes(
        self, client: TestClient, session: WebSocketTestSession, bob: Someone
    ) -> None:
        with connected(client, bob):
            came = session.receive_json()
        went = session.receive_json()

        assert (came["type"], came["member"]["username"]) == ("joined", bob.username)
        assert (went["type"], went["member"]) == ("left", came["member"])

    def test_is_of_one_channel(
        self, client: TestClient, session: WebSocketTestSession, ada: Someone, bob: Someone
    ) -> None:
        with connected(client, bob, "me") as own:
            assert answer(session, type="ping")["type"] == "pong"
            assert bob.username not in names(answer(session, type="who"))
            assert names(answer(own, type="who")) == {bob.username}

    def test_can_be_asked_for(
        self, client: TestClient, session: WebSocketTestSession, ada: Someone, bob: Someone
    ) -> None:
        with connected(client, bob):
            session.receive_json()
            roll = answer(session, type="who")
        assert roll["type"] == "present"
        assert names(roll) >= {ada.username, bob.username}


class TestSay:
    def test_is_heard_by_all_in_the_channel(
        self, client: TestClient, session: WebSocketTestSession, ada: Someone, bob: Someone
    ) -> None:
        with connected(client, bob) as other:
            session.receive_json()
            own = answer(session, type="say", text="Good morning")
            assert other.receive_json() == own
        assert own["type"] == "said"
        assert own["text"] == "Good morning"
        assert own["sender"] == {"user_id": str(ada.id), "username": ada.username}

    def test_is_not_heard_elsewhere(
        self, client: TestClient, session: WebSocketTestSession, bob: Someone
    ) -> None:
        with connected(client, bob, "me") as elsewhere:
            answer(session, type="say", text="Good morning")
            assert answer(elsewhere, type="ping", nonce="7") == {"type": "pong", "nonce": "7"}


class TestTell:
    def test_is_heard_by_one_user_on_every_connection(
        self, client: TestClient, arrange: ArrangeSync, ada: Someone, bob: Someone
    ) -> None:
        support = arrange.someone(role="support")
        with (
            connected(client, support) as speaker,
            connected(client, bob, "me") as one,
            connected(client, bob, "me") as other,
            connected(client, ada, "me") as stranger,
        ):
            assert one.receive_json()["type"] == "joined"
            speaker.send_json({"type": "tell", "user_id": str(bob.id), "text": "For you"})
            assert one.receive_json() == (heard := other.receive_json())
            assert answer(stranger, type="ping")["type"] == "pong"
        assert (heard["type"], heard["text"]) == ("told", "For you")

    def test_needs_a_permission(self, session: WebSocketTestSession, bob: Someone) -> None:
        refused = answer(session, type="tell", user_id=str(bob.id), text="For you")
        assert (refused["type"], refused["code"]) == ("error", "insufficient_scope")


class TestAnnounce:
    def test_is_heard_by_everybody(
        self, client: TestClient, arrange: ArrangeSync, session: WebSocketTestSession, bob: Someone
    ) -> None:
        with (
            connected(client, arrange.someone(role="admin"), "admin") as speaker,
            connected(client, bob, "me") as other,
        ):
            said = answer(speaker, type="announce", text="We close at six")
            assert other.receive_json() == said
            assert session.receive_json() == said
        assert said["type"] == "announced"

    def test_needs_a_permission(self, session: WebSocketTestSession) -> None:
        refused = answer(session, type="announce", text="We close at six")
        assert refused["code"] == "insufficient_scope"


class TestFaults:
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
    def test_are_told_and_the_connection_stays(
        self, session: WebSocketTestSession, text: str, code: str, detail: str
    ) -> None:
        session.send_text(text)

        fault = session.receive_json()

        assert (fault["type"], fault["code"]) == ("error", code)
        assert detail in fault["detail"]
        assert len(fault["detail"]) <= 300
        assert answer(session, type="ping")["type"] == "pong"

    def test_end_the_connection_if_there_are_too_many(
        self, client: TestClient, ada: Someone, limited: Callable[..., None]
    ) -> None:
        limited(max_faults=2)
        with connected(client, ada) as session:
            for _ in range(3):
                session.send_text("{")
            assert [session.receive_json()["type"] for _ in range(2)] == ["error", "error"]
            assert close_code(session) == 1007

    def test_end_the_connection_if_it_is_not_text(self, session: WebSocketTestSession) -> None:
        session.send_bytes(b"{}")
        assert close_code(session) == 1003

    @pytest.mark.parametrize("letter", ["a", "\u00e4"])
    def test_end_the_connection_if_it_is_too_large(
        self, client: TestClient, ada: Someone, limited: Callable[..., None], letter: str
    ) -> None:
        limited(max_message_bytes=256)
        with connected(client, ada) as session:
            session.send_json({"type": "ping", "nonce": letter * 240})
            assert close_code(session) == 1009


class TestRate:
    def test_drops_what_comes_too_fast(
        self, client: TestClient, ada: Someone, limited: Callable[..., None]
    ) -> None:
        limited(messages_per_second=0.01, burst=2, max_faults=1)
        with connected(client, ada) as session:
            for _ in range(4):
                session.send_json({"type": "ping"})
            heard = [session.receive_json() for _ in range(3)]
            assert [each["type"] for each in heard] == ["pong", "pong", "error"]
            assert heard[2]["code"] == "too_many_messages"
            assert close_code(session) == 1008


class TestLife:
    def test_ends_after_a_while(
        self, client: TestClient, ada: Someone, limited: Callable[..., None]
    ) -> None:
        limited(life_minutes=0.0001)
        assert end_of_connection(client, ada) == 4001

    def test_holds_no_connection_to_the_database(
        self, client: TestClient, app: FastAPI, session: WebSocketTestSession
    ) -> None:
        assert answer(session, type="ping")["type"] == "pong"
        pool = app.state.resources.database.engine.pool
        assert pool.checkedout() <= 1  # that of the test

    def test_ends_by_an_error_of_ours_with_a_code_and_a_line_in_the_log(
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

    def test_ends_by_an_error_on_the_way_in_without_leaving_anybody_behind(
        self, client: TestClient, app: FastAPI, ada: Someone, monkeypatch: pytest.MonkeyPatch
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


class TestUnknownUser:
    def test_hears_nothing_and_nobody_learns_that(
        self, client: TestClient, arrange: ArrangeSync
    ) -> None:
        with connected(client, arrange.someone(role="support")) as session:
            session.send_json({"type": "tell", "user_id": str(new_id()), "text": "Hello?"})
            assert answer(session, type="ping")["type"] == "pong"
